import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createJobs } from "../../../src/hub/jobs/lifecycle.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { ask, newJob, newSite, type SiteLogin } from "./client.ts";
import { hubOn, type TestHub } from "./hubs.ts";

/** Pages and filters beyond what was recorded (§0.5 of the contract). */
function lists(kind: "sqlite" | "postgres"): void {
  let hub: TestHub;
  let site: SiteLogin;
  let ids: string[];
  beforeAll(async () => {
    hub = await hubOn(kind);
    site = await newSite(hub, "lab-a");
    ids = [];
    for (let i = 0; i < 10; i++) ids.push(await newJob(hub, site, { config: { run: "lists", n: i } }));
  });
  afterAll(() => hub[Symbol.asyncDispose]());

  const filter = { "config.run": "lists" };
  const list = (query: Record<string, unknown>, path = "/jobs") => ask(hub, "GET", path, { query });
  const idsOf = (answer: { json: { resources: { id: string }[] } }) => answer.json.resources.map((one) => one.id);

  test("pages by id hold everything once, and the last one has no token", async () => {
    for (const size of [1, 3, 4, 9]) {
      const seen: string[] = [];
      let token: string | undefined;
      do {
        const answer = await list({
          filter,
          max_page_size: size,
          ...(token === undefined ? {} : { page_token: token }),
        });
        expect(answer.status).toBe(200);
        const page = idsOf(answer);
        token = answer.json.next_page_token as string | undefined;
        if (token !== undefined) expect(page).toEqual(page.toSorted());
        seen.push(...page);
      } while (token !== undefined);
      expect(seen.toSorted()).toEqual(ids.toSorted());
    }
  });

  test("what fits one page comes in the order of making, without a token", async () => {
    for (const size of [10, 11, 0, -1]) {
      const answer = await list({ filter, max_page_size: size });
      expect(idsOf(answer)).toEqual(ids);
      expect(answer.json).not.toHaveProperty("next_page_token");
    }
  });

  test("a token works once, for one of many who try, and is used up by a request that fails", async () => {
    const token = async () => (await list({ filter, max_page_size: 2 })).json.next_page_token as string;
    const shared = await token();
    const answers = await Promise.all(Array.from({ length: 20 }, () => list({ filter, page_token: shared })));
    expect(answers.filter((answer) => answer.status === 200)).toHaveLength(1);
    const refused = answers.find((answer) => answer.status !== 200);
    expect([refused?.status, refused?.json.detail]).toEqual([400, "`page_token` not found"]);
    const spoilt = await token();
    expect((await list({ page_token: spoilt }, "/operations")).status).toBe(400);
    expect((await list({ filter, page_token: spoilt })).status).toBe(400);
  });

  test("a token carries no filter", async () => {
    const other = await newJob(hub, site, { config: { run: "other" } });
    const first = await list({ filter, max_page_size: 1 });
    const all = idsOf(await list({ max_page_size: 0, filter: {}, page_token: first.json.next_page_token }));
    const smallest = ids.toSorted()[0] ?? "";
    expect(all.includes(other)).toBe(other > smallest);
    expect(all).not.toContain(smallest);
  });

  test("an equality on id goes with a token", async () => {
    const first = await list({ filter, max_page_size: 1 });
    const last = ids.toSorted().at(-1) ?? "";
    expect(idsOf(await list({ filter: { id: last }, page_token: first.json.next_page_token }))).toEqual([last]);
  });

  test("regular expressions page like anything else", async () => {
    const pattern = { "config.run": { $regex: "^LIST", $options: "i" }, "workflow.id": { $not: { $regex: "x" } } };
    const first = await list({ filter: pattern, max_page_size: 6 });
    const second = await list({ filter: pattern, max_page_size: 6, page_token: first.json.next_page_token });
    expect([...idsOf(first), ...idsOf(second)].toSorted()).toEqual(ids.toSorted());
    expect(second.json).not.toHaveProperty("next_page_token");
  });

  test("filters on data find everything among many documents, in pages too", async () => {
    const many = Array.from({ length: 12_000 }, (_, i) => ({
      workflow: { id: "many" },
      config: { many: { k: `key-${i % 4_000}` } },
      actor: "x",
    }));
    await hub.ctx.store.transaction((tx) => createJobs(hub.ctx, tx, many));
    const query = { "config.many.k": "key-17" };
    expect(idsOf(await list({ filter: query }))).toHaveLength(3);
    expect(idsOf(await list({ filter: query, max_page_size: 0 }))).toHaveLength(3);
    const first = await list({ filter: query, max_page_size: 2 });
    const second = await list({ filter: query, max_page_size: 2, page_token: first.json.next_page_token });
    expect(new Set([...idsOf(first), ...idsOf(second)]).size).toBe(3);
    expect(idsOf(await list({ filter: { "config.many.k": "key-4000" } }))).toEqual([]);
    const pattern = { "config.many.k": { $regex: "^key-1[78]$" } };
    expect(idsOf(await list({ filter: pattern }))).toHaveLength(6);
    expect(
      idsOf(await list({ filter: { ...pattern, "config.many": { $exists: true } }, max_page_size: 5 })),
    ).toHaveLength(5);
  });

  test("filters that cannot be used are 4xx with a reason", async () => {
    const bad = [
      { a: { $zzz: 1 } },
      { $where: "1" },
      { a: { $regex: "(" } },
      { a: { $regex: "(?=x)" } },
      { a: { $regex: "x".repeat(2_000) } },
      { a: { $regex: "((a{100}){100}){100}" } },
      { a: { $gt: [1] } },
      { a: { $size: -1 } },
      { a: { $gt: 1, b: 2 } },
      { $or: [] },
      { "a..b": 1 },
      { a: "\u0000" },
      { a: { $date: "2026-13-45" } },
    ];
    for (const one of bad) {
      const answer = await list({ filter: one });
      expect(answer.status, JSON.stringify(one)).toBe(422);
      expect(typeof answer.json.detail, JSON.stringify(one)).toBe("string");
    }
    let deep: object = { a: 1 };
    for (let i = 0; i < 200; i++) deep = { $and: [deep] };
    expect((await list({ filter: deep })).status).toBe(422);
  });
}

describe("lists by the contract: sqlite", () => lists("sqlite"));
describeWithEngine("postgres", "lists by the contract: postgres", () => lists("postgres"));
