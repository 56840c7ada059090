/** What older systems do wrong at their central service, as questions to this one. */
import { connect } from "node:net";
import { expect, it } from "vitest";
import { sql } from "kysely";
import { isAllowed, isFinal } from "../../../src/jobs/transitions.ts";
import { type JobState, jobStates } from "../../../src/jobs/states.ts";
import { waitFor } from "../../helpers/wait.ts";
import { onBothStores, startTestHub, type TestHub } from "./hub.ts";
import { type Draft, testSite } from "./site.ts";

/** All orders in which the items can begin: each comes first once. */
function rotations<Item>(items: readonly Item[]): Item[][] {
  return items.map((_, i) => [...items.slice(i), ...items.slice(0, i)]);
}

/** States that the table has a way to, by its arrows alone. */
function reachable(from: JobState): ReadonlySet<JobState> {
  const found = new Set<JobState>([from]);
  for (const state of found) for (const next of jobStates) if (isAllowed(state, next)) found.add(next);
  return found;
}

onBothStores("defects of other systems", (kind) => {
  it("BAL-1: many jobs made in one call keep exactly their own fields, in whatever order they come", async () => {
    await using hub = await startTestHub(kind);
    const client = await hub.client("submitter");
    const parent = await client.submit({ workflow: "p" });
    const drafts = [
      { workflow: "w", name: "a" },
      { workflow: "w", tags: { t: "1" }, config: { x: 1 } },
      { workflow: "v", parents: [parent.id], priority: 7, description: "d" },
      { workflow: "w", parameters: { n: 2 }, parent_policy: "all_ended" as const },
      { workflow: "" },
    ];
    for (const order of rotations(drafts)) {
      const results = await client.bulk(order);
      for (const [i, draft] of order.entries()) {
        const result = results[i];
        if (draft.workflow === "") expect(result).toMatchObject({ error: { code: "INVALID" } });
        else {
          const empty = {
            name: null,
            description: null,
            config: {},
            parameters: {},
            tags: {},
            parents: [],
            priority: 0,
          };
          const expected = { ...empty, parent_policy: "all_finished", ...draft, workflow: { id: draft.workflow } };
          expect(result).toMatchObject({ created: true, job: expected });
        }
      }
    }
  });

  it("BAL-1: many reports in one call leave exactly their own fields, in whatever order they come", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    const client = await hub.client("submitter");
    const failure = { code: "X", category: "user", message: "no" } as const;
    const end = { cause: "exit", exit_code: 3, evidence: "record", ended_at: "2026-01-01T00:00:00.000Z" } as const;
    const running = { state: "RUNNING" as const, phase: "started" as const, attempt: 2 };
    const output = { output: "o", path: "o.txt", bytes: 1, sha256: "a".repeat(64), stored: false };
    const drafts = [
      { state: "STAGED_IN" },
      running,
      { state: "FAILED", done: true, failure, end, attempt: 1 },
      { state: "JOB_FINISHED", done: true, outputs: [output], attempt: 1 },
      { state: "READY", phase: "staging", hold: { kind: "blocked", reason: "r", since: "2026-01-01T00:00:00.000Z" } },
    ] satisfies Draft[];
    for (const order of rotations(drafts)) {
      await client.bulk(order.map(() => ({ workflow: "w", tags: { t: "1" } })));
      const { assign } = await site.sync({ free: [{ workflow: "w", slots: order.length }] });
      const reports = order.flatMap((draft, i) => {
        const claim = assign[i];
        return claim ? [site.draft(claim, draft)] : [];
      });
      const results = await site.send(reports);
      expect(results.map((result) => result.outcome)).toEqual(order.map(() => "applied"));
      for (const [i, draft] of order.entries()) {
        const job = await client.job(assign[i]?.job ?? "");
        expect(job).toMatchObject({ state: draft.state, attempt: "attempt" in draft ? draft.attempt : 0 });
        expect(job.failure).toEqual("failure" in draft ? failure : null);
        expect(job.end).toEqual("end" in draft ? end : null);
        expect(job.hold?.reason).toBe("hold" in draft ? "r" : undefined);
        const events = await hub.ctx.store.db.selectFrom("events").selectAll().where("job_id", "=", job.id).execute();
        const told = events.findLast((event) => event.type === "job.state" || event.type === "job.hold");
        expect(JSON.parse(told?.data ?? "{}")).toMatchObject({ state: draft.state });
        const listed = await client.jobPage({ tag: "t=1", status: job.status, limit: 1000 });
        expect(listed.jobs.map((one) => one.id)).toContain(job.id);
      }
    }
  });

  it("BAL-5: every report that the table of states has no way to is refused with a reason and changes nothing", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    const client = await hub.client("submitter");
    const pairs = jobStates.flatMap((from) => jobStates.map((to) => [from, to] as const));
    await client.bulk(pairs.map(() => ({ workflow: "w" })));
    const { assign } = await site.sync({ free: [{ workflow: "w", slots: pairs.length }], max_assign: 1000 });
    expect(assign).toHaveLength(pairs.length);
    const { db } = hub.ctx.store;
    for (const [i, [from]] of pairs.entries()) {
      const columns = { state: from, ended_at: isFinal(from) ? 1 : null };
      await db
        .updateTable("jobs")
        .set(columns)
        .where("id", "=", assign[i]?.job ?? "")
        .execute();
    }
    const reports = pairs.flatMap(([, to], i) => {
      const claim = assign[i];
      return claim ? [site.draft(claim, { state: to, done: isFinal(to) })] : [];
    });
    const results = await site.send(reports);
    for (const [i, [from, to]] of pairs.entries()) {
      const allowed = !isFinal(from) && reachable(from).has(to);
      expect([from, to, results[i]?.outcome]).toEqual([from, to, allowed ? "applied" : "refused"]);
      if (!allowed) expect(results[i]?.detail).toContain(from);
      const row = await db
        .selectFrom("jobs")
        .select(["state", "report_seq"])
        .where("id", "=", assign[i]?.job ?? "")
        .executeTakeFirstOrThrow();
      expect(row).toEqual({ state: allowed ? to : from, report_seq: allowed ? 1 : 0 });
    }
  });

  it("BAL-8: a job that cannot be read fails by itself; the others are listed and handed out", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    const client = await hub.client("submitter");
    for (const bad of [{ priority: 1e9 }, { tags: { t: 1 } }, { parameters: [] }, { parents: "x" }]) {
      await expect(client.submit({ workflow: "w", ...bad } as never)).rejects.toMatchObject({ code: "INVALID" });
    }
    const made = await client.bulk(Array.from({ length: 6 }, () => ({ workflow: "w", tags: { of: "six" } })));
    const ids = made.flatMap((result) => ("job" in result ? [result.job.id] : []));
    const [shape, tags, parents, spec] = ids;
    const { db } = hub.ctx.store;
    const spoil = (id: string | undefined, columns: object) =>
      db
        .updateTable("jobs")
        .set(columns)
        .where("id", "=", id ?? "")
        .execute();
    await spoil(shape, { doc: "[]" });
    await spoil(tags, { tags: "{" });
    await spoil(parents, { parents: "7" });
    await spoil(spec, { spec: "nonsense" });
    const { assign } = await site.sync({ free: [{ workflow: "w", slots: 3 }] });
    expect(assign.map((assignment) => assignment.job)).toEqual(ids.slice(4));
    const listed = await client.jobPage({ sort: "created_at" });
    expect(listed.jobs.map((job) => job.id)).toEqual(ids);
    const failed = await client.jobPage({ sort: "created_at", status: ["FAILED"], tag: ["of=six"] });
    expect(failed.jobs.map((job) => job.id)).toEqual(ids.slice(0, 4));
    for (const id of ids.slice(0, 4)) {
      expect(await client.job(id)).toMatchObject({
        status: "FAILED",
        failure: { code: "UNREADABLE", category: "service" },
      });
    }
    expect((await site.sync({ free: [{ workflow: "w", slots: 3 }] })).assign.map(({ job }) => job)).toEqual(
      ids.slice(4),
    );
  });

  it("TAP-10: calls of one site at the same moment get no more jobs together than it has slots", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    const client = await hub.client("submitter");
    await client.bulk(Array.from({ length: 30 }, () => ({ workflow: "w" })));
    await site.sync({});
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => site.sync({ free: [{ workflow: "w", slots: 2 }] })),
    );
    const jobs = new Set(answers.flatMap((answer) => answer.assign.map((assignment) => assignment.job)));
    expect(jobs.size).toBe(2);
    expect((await client.jobPage({ site: "lab-a" })).total).toBe(2);
  });

  it("TAP-1, BAL-30: a hundred posts with one key at once make one job; with another body they are a conflict", async () => {
    await using hub = await startTestHub(kind);
    const client = await hub.client("submitter");
    const request = { workflow: "w", config: { x: 1 }, idempotency_key: "k" };
    const made = await Promise.all(Array.from({ length: 100 }, () => client.submit(request)));
    expect(new Set(made.map((job) => job.id)).size).toBe(1);
    const again = await client.bulk([request, request, { ...request, config: { x: 2 } }]);
    expect(again).toMatchObject([
      { created: false, job: { id: made[0]?.id } },
      { created: false, job: { id: made[0]?.id } },
      { error: { code: "IDEMPOTENCY_MISMATCH" } },
    ]);
    await expect(client.submit({ ...request, config: { x: 2 } })).rejects.toMatchObject({
      code: "IDEMPOTENCY_MISMATCH",
    });
    expect((await client.jobPage()).total).toBe(1);
  });

  it("BAL-25: a thousand clients that hang up leave no transaction open and nothing half done", async () => {
    await using hub = await startTestHub(kind);
    const client = await hub.client("submitter");
    const token = await hub.userToken("submitter");
    const body = JSON.stringify({ jobs: Array.from({ length: 3 }, () => ({ workflow: "w" })) });
    for (let round = 0; round < 20; round++) {
      await Promise.all(Array.from({ length: 50 }, (_, i) => hangUp(hub, token, body, i % 5)));
    }
    const { store } = hub.ctx;
    if (kind === "postgres") {
      const open = sql<{ n: number }>`SELECT count(*)::int AS n FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'`;
      await waitFor(async () => (await open.execute(store.db)).rows[0]?.n === 0, {
        what: "all database sessions to be idle",
        timeoutMs: 30_000,
      });
    }
    expect(await store.transaction((tx) => tx.db.selectFrom("settings").selectAll().execute())).toBeDefined();
    const jobs = await store.db.selectFrom("jobs").select("id").execute();
    expect(jobs.length % 3).toBe(0);
    const events = await store.db.selectFrom("events").select("seq").where("type", "=", "job.created").execute();
    expect(events).toHaveLength(jobs.length);
    await client.submit({ workflow: "w" });
  });
});

/** Sends a request and goes away: after the head, in the body, with its last byte, or a moment later. */
async function hangUp(hub: TestHub, token: string, body: string, when: number): Promise<void> {
  const { hostname, port } = new URL(hub.url);
  const socket = connect(Number(port), hostname);
  socket.on("error", () => {});
  await new Promise((resolve) => socket.once("connect", resolve));
  const head = `POST /siteagent/v1/jobs:bulk HTTP/1.1\r\nhost: hub\r\nauthorization: Bearer ${token}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`;
  const sent = when === 0 ? head : when === 1 ? head + body.slice(0, 20) : head + body;
  await new Promise((resolve) => socket.write(sent, resolve));
  // The later ones are cut off while the hub is at work, or while it answers.
  for (let turn = 0; turn < when * when; turn++) await new Promise((resolve) => setImmediate(resolve));
  socket.destroy();
}
