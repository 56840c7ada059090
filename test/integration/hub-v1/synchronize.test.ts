import { expect, it } from "vitest";
import { waitFor } from "../../helpers/wait.ts";
import { onBothStores, startTestHub } from "./hub.ts";
import { testSite } from "./site.ts";

onBothStores("synchronize", (kind) => {
  it("assigns open jobs of offered workflows with an operation that NMDC readers see", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    const client = await hub.client("submitter");
    const job = await client.submit({ workflow: "w", config: { x: 1 }, parameters: { n: 2 }, tags: { a: "b" } });
    await client.submit({ workflow: "other" });
    const answer = await site.sync({ free: [{ workflow: "w", slots: 5 }] });
    expect(answer.session_current).toBe(true);
    expect(answer.assign).toHaveLength(1);
    const [assignment] = answer.assign;
    expect(assignment).toMatchObject({
      job: job.id,
      epoch: 1,
      spec: { workflow: "w", config: { x: 1 }, parameters: { n: 2 }, tags: { a: "b" }, owner: "submitter" },
    });
    const operation = await hub.ctx.store.db.selectFrom("operations").selectAll().executeTakeFirstOrThrow();
    expect(operation).toMatchObject({ id: assignment?.op_id, job_id: job.id, site_id: "lab-a", done: 0 });
    const shown = await client.job(job.id);
    expect(shown).toMatchObject({ status: "PROCESSING_INPUTS", site: "lab-a", epoch: 1, op_id: assignment?.op_id });
  });

  it("A3: heals a lost answer: the same claim again until it is listed, then no more", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    const client = await hub.client("submitter");
    await client.bulk([{ workflow: "w" }, { workflow: "w" }]);
    const free = [{ workflow: "w", slots: 1 }];
    const first = await site.sync({ free });
    const second = await site.sync({ free });
    expect(second.assign).toEqual(first.assign);
    const [assignment] = first.assign;
    if (!assignment) throw new Error("nothing assigned");
    const held = [{ job: assignment.job, epoch: assignment.epoch, seq: 0, state: "READY" as const }];
    expect((await site.sync({ held })).assign).toEqual([]);
    await site.report(assignment, { state: "READY", phase: "staging" });
    const forgot = await site.sync();
    expect(forgot.assign).toEqual([]);
    expect(forgot.missing).toEqual([{ job: assignment.job, epoch: 1 }]);
  });

  it("BAL-12: gives an unconfirmed claim to another site when its lease ran out, and fences the first", async () => {
    await using hub = await startTestHub(kind);
    await using first = await testSite(hub, "lab-a");
    await using second = await testSite(hub, "lab-b");
    const client = await hub.client("submitter");
    const { id } = await client.submit({ workflow: "w" });
    const lost = await first.take("w");
    await hub.ctx.store.db
      .updateTable("jobs")
      .set({ lease_expires_at: Date.now() - 1 })
      .where("id", "=", id)
      .execute();
    const next = await second.take("w");
    expect(next.job).toBe(id);
    expect(next.epoch).toBeGreaterThan(lost.epoch);
    const held = [{ job: id, epoch: lost.epoch, seq: 0, state: "READY" as const }];
    expect((await first.sync({ held })).fenced.map((entry) => entry.job)).toEqual([id]);
    const [late] = await first.send([first.draft(lost, { state: "READY", phase: "staging" })]);
    expect(late?.outcome).toBe("fenced");
    await second.report(next, { state: "READY", phase: "staging" });
    const operation = await hub.ctx.store.db
      .selectFrom("operations")
      .selectAll()
      .where("id", "=", lost.op_id)
      .executeTakeFirstOrThrow();
    expect(operation).toMatchObject({ done: 1, cancelled: 1 });
  });

  it("never takes a confirmed job away by timer", async () => {
    await using hub = await startTestHub(kind);
    await using first = await testSite(hub, "lab-a");
    await using second = await testSite(hub, "lab-b");
    const client = await hub.client("submitter");
    await client.submit({ workflow: "w" });
    const assignment = await first.take("w");
    await first.report(assignment, { state: "READY", phase: "staging" });
    await hub.ctx.store.db
      .updateTable("jobs")
      .set({ lease_expires_at: Date.now() - 1 })
      .execute();
    expect((await second.sync({ free: [{ workflow: "w", slots: 1 }] })).assign).toEqual([]);
    await hub.ctx.store.db
      .updateTable("sites")
      .set({ last_seen_at: Date.now() - 100_000 })
      .execute();
    expect(await client.job(assignment.job)).toMatchObject({ lost_contact: true, site: "lab-a" });
  });

  it("prefers priority, then takes workflows in turn, oldest first", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    const client = await hub.client("submitter");
    for (const name of ["a1", "a2", "a3"]) await client.submit({ workflow: "a", name });
    for (const name of ["b1", "b2"]) await client.submit({ workflow: "b", name });
    await client.submit({ workflow: "b", name: "urgent", priority: 5 });
    const free = [
      { workflow: "a", slots: 10 },
      { workflow: "b", slots: 10 },
    ];
    const answer = await site.sync({ free, max_assign: 4 });
    expect(answer.assign.map((assignment) => assignment.spec.name)).toEqual(["urgent", "a1", "a2", "b1"]);
  });

  it("gives the session to the newest instance; the older one gets no jobs", async () => {
    await using hub = await startTestHub(kind);
    await using older = await testSite(hub, "lab-a", "one");
    await using newer = await testSite(hub, "lab-a", "two");
    const client = await hub.client("submitter");
    const before = await older.sync();
    const taken = await newer.sync();
    expect(taken.session_epoch).toBe(before.session_epoch + 1);
    await client.submit({ workflow: "w" });
    const refused = await older.sync({ free: [{ workflow: "w", slots: 1 }], hold_ms: 5_000 });
    expect(refused).toMatchObject({ session_current: false, assign: [], next_sync_ms: 10_000 });
    expect((await newer.sync({ free: [{ workflow: "w", slots: 1 }] })).assign).toHaveLength(1);
  });

  it("holds an empty answer until a job comes, and answers at once when the hub closes", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    const client = await hub.client("submitter");
    expect((await site.sync()).next_sync_ms).toBe(0);
    expect((await site.sync()).next_sync_ms).toBe(10_000);
    expect((await site.sync({ hold_ms: 1 })).next_sync_ms).toBe(0);
    const started = performance.now();
    const held = site.sync({ free: [{ workflow: "w", slots: 1 }], hold_ms: 30_000 });
    await waitFor(async () => (await client.sites())[0]?.workflows.includes("w"), { what: "the held call" });
    const { id } = await client.submit({ workflow: "w" });
    const answer = await held;
    expect(answer.assign.map((assignment) => assignment.job)).toEqual([id]);
    expect(performance.now() - started).toBeLessThan(20_000);
    const other = await testSite(hub, "lab-b");
    await other.sync();
    const open = other.sync({ free: [{ workflow: "v", slots: 1 }], hold_ms: 30_000 });
    await waitFor(async () => (await client.sites()).find((one) => one.id === "lab-b")?.workflows.includes("v"), {
      what: "the second held call",
    });
    const closing = performance.now();
    await Promise.all([hub.app.close(), open]);
    expect(performance.now() - closing).toBeLessThan(10_000);
    await other[Symbol.asyncDispose]();
  });

  it("gives the session back to a living instance when the one that has it was silent for three minutes", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    await (await hub.client("submitter")).submit({ workflow: "w" });
    const { session_epoch } = await site.sync({ instance_id: "living" });
    // The first call of a process that is dead, late on its way.
    await site.sync({ instance_id: "dead", session_epoch: undefined });
    const ask = { instance_id: "living", session_epoch, free: [{ workflow: "w", slots: 1 }] };
    expect(await site.sync(ask)).toMatchObject({ session_current: false, assign: [] });
    const silentSince = Date.now() - 181_000;
    await hub.ctx.store.db.updateTable("sites").set({ last_seen_at: silentSince }).where("id", "=", "lab-a").execute();
    const again = await site.sync(ask);
    expect(again).toMatchObject({ session_current: true, session_epoch: session_epoch + 2 });
    expect(again.assign).toHaveLength(1);
  });

  it("wakes held calls for a fence, a newer session and a child that became ready", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    await using newer = await testSite(hub, "lab-a", "two");
    await using other = await testSite(hub, "lab-b");
    const client = await hub.client("submitter");
    const parent = await client.submit({ workflow: "p" });
    const child = await client.submit({ workflow: "c", parents: [parent.id] });
    const claim = await site.take("p");
    const held = [{ job: claim.job, epoch: claim.epoch, seq: 0, state: "READY" as const }];
    const hold = async (who: typeof site, offer: string, more = {}) => {
      const answer = who.sync({ free: [{ workflow: offer, slots: 1 }], hold_ms: 30_000, ...more });
      await waitFor(async () => (await client.sites()).some((one) => one.workflows.includes(offer)), {
        what: "the held call",
      });
      return { answer };
    };
    const fenced = await hold(site, "x", { held });
    await site.post(`/jobs/${claim.job}:release`, { epoch: claim.epoch, reason: "" });
    expect((await fenced.answer).fenced.map((entry) => entry.job)).toEqual([claim.job]);
    await other.sync();
    const waiting = await hold(other, "c");
    await site.finish(await site.take("p"));
    expect((await waiting.answer).assign.map((one) => one.job)).toEqual([child.id]);
    const old = await hold(site, "y");
    await newer.sync();
    expect((await old.answer).session_current).toBe(false);
  });

  it("keeps jobs for the site they name and leaves held-back ones alone", async () => {
    await using hub = await startTestHub(kind);
    await using first = await testSite(hub, "lab-a");
    await using second = await testSite(hub, "lab-b");
    const client = await hub.client("submitter");
    const wanted = await client.submit({ workflow: "w", site: "lab-b" });
    const paused = await client.submit({ workflow: "w" });
    expect(await client.pause(paused.id, "wait")).toMatchObject({ result: "done", job: { status: "PAUSED" } });
    const free = [{ workflow: "w", slots: 9 }];
    expect((await first.sync({ free })).assign).toEqual([]);
    expect((await second.sync({ free })).assign.map((one) => one.job)).toEqual([wanted.id]);
    await client.resume(paused.id);
    expect((await first.sync({ free })).assign.map((one) => one.job)).toEqual([paused.id]);
  });
});
