import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { changeJob, createJobs, lockJob } from "../../../src/hub/jobs/lifecycle.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { ask, newJob, newSite, type SiteLogin } from "./client.ts";
import { hubOn, type TestHub } from "./hubs.ts";

/** Claims, releases and operations beyond what was recorded (§2.5, §2.6, §3.3 of the contract). */
function claims(kind: "sqlite" | "postgres"): void {
  let hub: TestHub;
  let a: SiteLogin;
  let b: SiteLogin;
  beforeAll(async () => {
    hub = await hubOn(kind);
    a = await newSite(hub, "lab-a");
    b = await newSite(hub, "lab-b", ["gpu"]);
  });
  afterAll(() => hub[Symbol.asyncDispose]());

  async function claim(site: SiteLogin, job: string): Promise<string> {
    const answer = await ask(hub, "POST", `/jobs/${job}:claim`, { token: site.token });
    expect(answer.status, answer.text).toBe(200);
    return answer.json.id as string;
  }
  const claimsOf = async (job: string) =>
    (await ask(hub, "GET", `/jobs/${job}`)).json.claims as Record<string, unknown>[];
  const release = async (site: SiteLogin, job: string) =>
    (await ask(hub, "POST", `/jobs/${job}:release`, { token: site.token })).json;
  const rowOf = async (job: string) =>
    hub.ctx.store.db.selectFrom("jobs").selectAll().where("id", "=", job).executeTakeFirstOrThrow();

  test("every claim makes a new operation, by the same site and by others", async () => {
    const job = await newJob(hub, a);
    const ops = [await claim(a, job), await claim(a, job), await claim(b, job)];
    expect(new Set(ops).size).toBe(3);
    expect(await claimsOf(job)).toEqual([
      { op_id: ops[0], site_id: "lab-a" },
      { op_id: ops[1], site_id: "lab-a" },
      { op_id: ops[2], site_id: "lab-b" },
    ]);
  });

  test("no claim is lost among 50 at the same moment", async () => {
    const job = await newJob(hub, a);
    const ops = await Promise.all(Array.from({ length: 50 }, (_, i) => claim(i % 2 ? a : b, job)));
    const entries = (await claimsOf(job)).map((entry) => entry["op_id"] as string);
    expect(entries.toSorted()).toEqual(ops.toSorted());
    expect(await rowOf(job)).toMatchObject({ claim_count: 50, live_claims: 50 });
  });

  test("claim and release take an empty body that is labelled JSON, garbage, and encoded colons", async () => {
    const job = await newJob(hub, a);
    for (const verb of ["claim", "release"]) {
      for (const raw of ["", "garbage"]) {
        const answer = await ask(hub, "POST", `/jobs/${job}:${verb}`, {
          token: a.token,
          raw,
          headers: { "content-type": "application/json" },
        });
        expect(answer.status, answer.text).toBe(200);
      }
      const encoded = await ask(hub, "POST", `/jobs/${encodeURIComponent(`${job}:${verb}`)}`, { token: a.token });
      expect(encoded.status, encoded.text).toBe(200);
    }
    expect((await ask(hub, "POST", `/jobs/${job}:steal`, { token: a.token })).status).toBe(405);
    expect((await ask(hub, "POST", "/jobs/nmdc:none:claim", { token: a.token })).json).toMatchObject({
      detail: "Not found",
    });
  });

  test("a capability that the site lacks is refused, with its name", async () => {
    const job = await newJob(hub, a, { workflow: { id: "w", capability_ids: ["gpu"] } });
    const refused = await ask(hub, "POST", `/jobs/${job}:claim`, { token: a.token });
    expect(refused.status).toBe(403);
    expect(refused.json.detail).toBe("client site does not have capability gpu required to claim job");
    await claim(b, job);
  });

  test("release cancels own open claims, keeps others', drops own finished ones, and may be repeated", async () => {
    const job = await newJob(hub, a);
    const mine = await claim(a, job);
    const theirs = await claim(b, job);
    const expected = [
      { op_id: theirs, site_id: "lab-b", done: null, cancelled: null },
      { op_id: mine, site_id: "lab-a", done: true, cancelled: true },
    ];
    expect((await release(a, job)).claims).toEqual(expected);
    const again = await release(a, job);
    expect(again.claims).toEqual(expected);
    expect(again).toMatchObject({
      name: null,
      description: null,
      workflow: { name: null, capability_ids: null, created_at: null },
    });
    const operation = (await ask(hub, "GET", `/operations/${mine}`)).json;
    expect(operation).toMatchObject({ done: false, metadata: { cancelled: true, done: true, site_id: "lab-a" } });
    const second = await claim(a, job);
    expect((await claimsOf(job)).map((entry) => entry["op_id"])).toEqual([theirs, mine, second]);
    await ask(hub, "PATCH", `/operations/${mine}`, { token: a.token, json: { done: true } });
    await ask(hub, "PATCH", `/operations/${second}`, { token: a.token, json: { done: true } });
    expect((await release(a, job)).claims).toEqual([expected[0]]);
  });

  test("a job never claimed is released unchanged; releasing in bulk skips unknown and repeated ids", async () => {
    const jobs = [await newJob(hub, a), await newJob(hub, a)];
    await claim(a, jobs[0] ?? "");
    const answer = await ask(hub, "POST", "/jobs/release", {
      token: a.token,
      json: { job_ids: [...jobs, "nmdc:none", ...jobs] },
    });
    expect(answer.status).toBe(200);
    expect((answer.json as { id: string }[]).map((job) => job.id).toSorted()).toEqual(jobs.toSorted());
    expect((await ask(hub, "POST", "/jobs/release", { token: a.token, json: jobs })).status).toBe(422);
  });

  test("the time of a job that a trigger made is text until the first claim", async () => {
    const [row] = await hub.ctx.store.transaction((tx) =>
      createJobs(hub.ctx, tx, [
        {
          workflow: { id: "w" },
          config: { object_id: "o1" },
          trigger: { id: "t--w", objectId: "o1" },
          actor: "trigger:t--w",
        },
      ]),
    );
    const id = row?.id ?? "";
    const before = (await ask(hub, "GET", `/jobs/${id}`)).json;
    expect(before.created_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    expect(before).not.toHaveProperty("claims");
    await claim(a, id);
    expect((await ask(hub, "GET", `/jobs/${id}`)).json.created_at).toMatch(
      /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?$/,
    );
  });

  test("checks of a patch come in the contract's order", async () => {
    const job = await newJob(hub, a);
    const op = await claim(a, job);
    const patch = (token: string | undefined, raw: string, id = op) =>
      ask(hub, "PATCH", `/operations/${id}`, { token, raw, headers: { "content-type": "application/json" } });
    expect((await patch(undefined, "{")).json.detail[0].type).toBe("json_invalid");
    expect((await patch(undefined, '{"done": "banana"}')).status).toBe(401);
    expect((await patch(a.token, '{"done": "banana"}', "nmdc:none")).json.detail[0]).toMatchObject({
      type: "bool_parsing",
      loc: ["body", "done"],
    });
    expect((await patch(a.token, "{}", "nmdc:none")).status).toBe(404);
    const foreign = await patch(b.token, "{}");
    expect([foreign.status, foreign.json.detail]).toEqual([403, "client authorized for different site_id than lab-a"]);
    expect((await patch(a.token, "")).json.detail[0]).toMatchObject({ type: "missing", loc: ["body"] });
  });

  test("done is read loosely, goes back, and result takes anything", async () => {
    const op = await claim(a, await newJob(hub, a));
    const patch = async (json: object) => (await ask(hub, "PATCH", `/operations/${op}`, { token: a.token, json })).json;
    expect(await patch({ done: "yes", result: "text", id: "x", expire_time: "2030-01-01T00:00:00Z" })).toMatchObject({
      id: op,
      done: true,
      result: "text",
    });
    expect(await patch({ result: [1, { a: null }] })).toMatchObject({ done: true, result: [1, { a: null }] });
    expect(await patch({ done: 0, result: null })).toMatchObject({ done: false, result: null });
    expect((await ask(hub, "PATCH", `/operations/${op}`, { token: a.token, json: { metadata: null } })).status).toBe(
      422,
    );
  });

  test("the hub sees the job's state in its claims and operations", async () => {
    const job = await newJob(hub, a);
    expect(await rowOf(job)).toMatchObject({ state: "READY", status: "PENDING", site_id: null, op_id: null });
    const op = await claim(a, job);
    expect(await rowOf(job)).toMatchObject({
      state: "READY",
      phase: "claimed",
      status: "PROCESSING_INPUTS",
      site_id: "lab-a",
      op_id: op,
    });
    const report = { state: "RUNNING", status: "RUNNING", attempt: 1, seq: 3, at: "2026-01-01T00:00:00.000Z" };
    await ask(hub, "PATCH", `/operations/${op}`, { token: a.token, json: { metadata: { siteagent: report } } });
    expect(await rowOf(job)).toMatchObject({ state: "RUNNING", status: "RUNNING", attempt: 1, ended_at: null });
    const failure = { code: "EXIT_CODE", message: "it ended with 3", details: { exit_code: 3 } };
    await ask(hub, "PATCH", `/operations/${op}`, { token: a.token, json: { done: true, result: failure } });
    const failed = await rowOf(job);
    expect(failed).toMatchObject({ state: "FAILED", status: "FAILED" });
    expect(JSON.parse(failed.failure ?? "")).toMatchObject({ code: "EXIT_CODE", exit_code: 3 });
    expect(failed.ended_at).not.toBeNull();
    await release(a, job);
    expect(await rowOf(job)).toMatchObject({
      state: "READY",
      status: "PENDING",
      site_id: null,
      ended_at: null,
      failure: null,
    });
    const second = await claim(b, job);
    await ask(hub, "PATCH", `/operations/${second}`, { token: b.token, json: { done: true, result: { outputs: [] } } });
    expect(await rowOf(job)).toMatchObject({
      state: "JOB_FINISHED",
      status: "FINISHED",
      site_id: "lab-b",
      op_id: second,
    });
    const events = await hub.ctx.store.db
      .selectFrom("events")
      .select(["type", "data"])
      .where("job_id", "=", job)
      .orderBy("seq")
      .execute();
    const states = events.map((event) => JSON.parse(event.data) as { state: string; phase?: string });
    expect(states.map(({ state, phase }) => `${state} ${phase ?? ""}`.trim())).toEqual([
      "READY",
      "READY claimed",
      "RUNNING none",
      "FAILED none",
      "READY none",
      "READY claimed",
      "JOB_FINISHED none",
    ]);
  });

  test("a claim that its site took back by closing the operation says nothing about the job", async () => {
    const job = await newJob(hub, a);
    const kept = await claim(a, job);
    const doubled = await claim(a, job);
    const patch = (op: string, json: object) => ask(hub, "PATCH", `/operations/${op}`, { token: a.token, json });
    const duplicate = { code: "DUPLICATE_CLAIM", message: `superseded by '${kept}'` };
    await patch(doubled, { done: true, result: duplicate, metadata: { cancelled: true, done: true } });
    expect(await rowOf(job)).toMatchObject({ state: "READY", phase: "claimed", op_id: kept, failure: null });
    await patch(kept, { done: true, result: { outputs: [] } });
    expect(await rowOf(job)).toMatchObject({ state: "JOB_FINISHED", status: "FINISHED", op_id: kept, failure: null });
  });

  test("a job that ended without a claim is not brought back by a release", async () => {
    const job = await newJob(hub, a);
    await hub.ctx.store.transaction(async (tx) => {
      const row = await lockJob(tx, kind, job);
      if (row) await changeJob(hub.ctx, tx, row, { state: "CANCELLED", actor: "user:x" });
    });
    await release(a, job);
    expect(await rowOf(job)).toMatchObject({ state: "CANCELLED", status: "CANCELLED" });
    const shown = await ask(hub, "GET", "/jobs", { query: { filter: { id: job } } });
    expect(shown.json.resources).toEqual([]);
  });

  test("jobs of an exclusive workflow are in no list, and cannot be claimed here", async () => {
    const { store } = hub.ctx;
    await store.db
      .insertInto("workflows")
      .values({
        id: "mine-only",
        name: "x",
        description: null,
        created_at: 0,
        source: "api",
        capability_ids: "[]",
        claims_policy: "exclusive",
      })
      .execute();
    const job = await newJob(hub, a, { workflow: { id: "mine-only" } });
    for (const filter of [{}, { id: job }, { "workflow.id": "mine-only" }]) {
      const list = await ask(hub, "GET", "/jobs", { query: { filter, max_page_size: 0 } });
      expect((list.json.resources as { id: string }[]).map((one) => one.id)).not.toContain(job);
    }
    for (const verb of ["claim", "release"]) {
      const refused = await ask(hub, "POST", `/jobs/${job}:${verb}`, { token: a.token });
      expect([refused.status, refused.json.code]).toEqual([403, "CLAIM_EXCLUSIVE"]);
    }
  });
}

describe("claims by the contract: sqlite", () => claims("sqlite"));
describeWithEngine("postgres", "claims by the contract: postgres", () => claims("postgres"));
