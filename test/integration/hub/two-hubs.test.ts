import { sql } from "kysely";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { waitFor } from "../../helpers/wait.ts";
import { adminToken, ask, newJob, newSite, type SiteLogin } from "./client.ts";
import { postgresHubs, type TestHub } from "./hubs.ts";

describeWithEngine("postgres", "two hubs on one PostgreSQL", () => {
  let place: Awaited<ReturnType<typeof postgresHubs>>;
  let one: TestHub;
  let two: TestHub;
  let site: SiteLogin;
  beforeAll(async () => {
    place = await postgresHubs(2);
    const [first, second] = place.hubs;
    if (!first || !second) throw new Error("no hubs");
    [one, two] = [first, second];
    site = await newSite(one, "lab-a");
  });
  afterAll(() => place[Symbol.asyncDispose]());

  test("a claim on one is seen on the other at once", async () => {
    const job = await newJob(one, site);
    const claim = await ask(one, "POST", `/jobs/${job}:claim`, { token: site.token });
    expect((await ask(two, "GET", `/jobs/${job}`)).json.claims).toEqual([{ op_id: claim.json.id, site_id: "lab-a" }]);
    const patched = await ask(two, "PATCH", `/operations/${claim.json.id as string}`, {
      token: site.token,
      json: { done: true },
    });
    expect(patched.json).toMatchObject({ done: true });
    expect((await ask(one, "GET", `/operations/${claim.json.id as string}`)).json).toMatchObject({ done: true });
  });

  test("claims through both at the same moment are all kept", async () => {
    const job = await newJob(one, site);
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, i) => ask(i % 2 ? one : two, "POST", `/jobs/${job}:claim`, { token: site.token })),
    );
    expect(answers.every((answer) => answer.status === 200)).toBe(true);
    expect((await ask(two, "GET", `/jobs/${job}`)).json.claims).toHaveLength(40);
  });

  test("a page token of one works once, on either", async () => {
    const run = { "config.run": "pages" };
    for (let i = 0; i < 4; i++) await newJob(one, site, { config: { run: "pages" } });
    const first = await ask(one, "GET", "/jobs", { query: { filter: run, max_page_size: 2 } });
    const query = { filter: run, max_page_size: 2, page_token: first.json.next_page_token as string };
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, i) => ask(i % 2 ? one : two, "GET", "/jobs", { query })),
    );
    expect(answers.filter((answer) => answer.status === 200)).toHaveLength(1);
    expect(answers.filter((answer) => answer.status === 400)).toHaveLength(9);
  });

  test("each accepts the tokens of the other, also after a change of keys", async () => {
    for (const [maker, user] of [
      [one, two],
      [two, one],
    ] as const) {
      await maker.ctx.keys.rotate();
      expect((await ask(user, "GET", "/users/me", { token: await adminToken(maker) })).status).toBe(200);
    }
  });

  test("a wake-up arrives at both, after the commit, and not without one", async () => {
    const heard: string[] = [];
    const stops = [one, two].map((hub, i) =>
      hub.ctx.store.listen("orders", (payload) => void heard.push(`${i} ${payload}`)),
    );
    const { store } = one.ctx;
    await expect(
      store.transaction((tx) => {
        tx.notify("orders", "never");
        return Promise.reject(new Error("no"));
      }),
    ).rejects.toThrow("no");
    await store.transaction((tx) => Promise.resolve(tx.notify("orders", "x")));
    await waitFor(() => heard.length >= 2, { what: "both to hear" });
    expect(heard.toSorted()).toEqual(["0 x", "1 x"]);
    for (const stop of stops) stop();
  });

  test("a hub whose listening connection was cut listens again and looks at everything", async () => {
    const heard: string[] = [];
    const stop = two.ctx.store.listen("registry", (payload) => void heard.push(payload));
    await sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN %' AND pid <> pg_backend_pid()`.execute(
      one.ctx.store.db,
    );
    await waitFor(() => heard.includes(""), { what: "the hub to listen again" });
    await one.ctx.store.notify("registry", "again");
    await waitFor(() => heard.includes("again"), { what: "a wake-up after that" });
    stop();
  });
});
