import { expect, it } from "vitest";
import { systemClock } from "../../../src/common/clock.ts";
import { leaseMs } from "../../../src/hub/v1/claims.ts";
import { type Assignment, assignmentSchema } from "../../../src/wire/agent-api.ts";
import { onBothStores, startTestHub } from "./hub.ts";
import { type TestSite, testSite } from "./site.ts";

onBothStores("claims by hand", (kind) => {
  it("lets one of fifty sites win when all claim at the same moment", async () => {
    await using hub = await startTestHub(kind);
    await using stack = new AsyncDisposableStack();
    const client = await hub.client("submitter");
    const { id } = await client.submit({ workflow: "w" });
    const sites = await Promise.all(Array.from({ length: 50 }, (_, index) => testSite(hub, `site-${index}`)));
    for (const site of sites) stack.use(site);
    const answers = await Promise.all(sites.map((site) => site.post(`/jobs/${id}:claim`)));
    const winners = answers.filter((answer) => answer.status === 200);
    expect(winners).toHaveLength(1);
    expect(answers.filter((answer) => answer.body["code"] === "CLAIM_LOST")).toHaveLength(49);
    const operations = await hub.ctx.store.db.selectFrom("operations").select("id").execute();
    expect(operations.map((row) => row.id)).toEqual([winners[0]?.body["op_id"]]);
  });

  it("lets fifty sites share fifty jobs by synchronize, each job once", async () => {
    await using hub = await startTestHub(kind);
    await using stack = new AsyncDisposableStack();
    const client = await hub.client("submitter");
    await client.bulk(Array.from({ length: 50 }, () => ({ workflow: "w" })));
    const sites = await Promise.all(Array.from({ length: 50 }, (_, index) => testSite(hub, `site-${index}`)));
    for (const site of sites) stack.use(site);
    const answers = await Promise.all(
      sites.map((site) => site.sync({ free: [{ workflow: "w", slots: 1 }], hold_ms: 20_000 })),
    );
    const jobs = answers.flatMap((answer) => answer.assign.map((assignment) => assignment.job));
    expect(jobs).toHaveLength(50);
    expect(new Set(jobs).size).toBe(50);
  });

  it("gives the same claim again for the same key, and to nobody else", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    const client = await hub.client("submitter");
    const { id } = await client.submit({ workflow: "w" });
    const claim = async (key?: string) =>
      site.post(`/jobs/${id}:claim`, {}, key === undefined ? {} : { "idempotency-key": key });
    const first = await claim("k1");
    expect(first.status).toBe(200);
    expect((await claim("k1")).body).toEqual(first.body);
    expect((await claim("k2")).body["code"]).toBe("CLAIM_LOST");
    expect((await claim()).body["code"]).toBe("CLAIM_LOST");
  });

  it("BAL-12, BAL-29: renews a lease, and takes a job back on release with the operation closed and the epoch raised", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    await using other = await testSite(hub, "lab-b");
    const client = await hub.client("submitter");
    const { id } = await client.submit({ workflow: "w" });
    const claim = assignmentSchema.parse((await site.post(`/jobs/${id}:claim`)).body);
    expect((await site.post(`/jobs/${id}:renew`, { epoch: claim.epoch })).body).toEqual({ lease_ms: 90_000 });
    expect((await other.post(`/jobs/${id}:renew`, { epoch: claim.epoch })).body["code"]).toBe("STALE_EPOCH");
    await site.report(claim, { state: "STAGED_IN" });
    const released = await site.post(`/jobs/${id}:release`, { epoch: claim.epoch, reason: "draining" });
    expect(released.body).toMatchObject({ state: "READY", status: "PENDING", site: null });
    const [late] = await site.send([site.draft(claim, { seq: 2, state: "RUNNING", attempt: 1 })]);
    expect(late?.outcome).toBe("fenced");
    expect((await site.post(`/jobs/${id}:release`, { epoch: claim.epoch, reason: "" })).body["code"]).toBe(
      "STALE_EPOCH",
    );
    const row = await hub.ctx.store.db.selectFrom("jobs").select("doc").where("id", "=", id).executeTakeFirstOrThrow();
    expect(JSON.parse(row.doc)).toMatchObject({
      claims: [{ op_id: claim.op_id, site_id: "lab-a", done: true, cancelled: true }],
    });
    const next = await other.take("w");
    expect(next.epoch).toBeGreaterThan(claim.epoch);
    await other.report(next, { state: "RUNNING", phase: "started", attempt: 1 });
    const running = await other.post(`/jobs/${id}:release`, { epoch: next.epoch, reason: "" });
    expect(running).toMatchObject({ status: 409, body: { code: "ILLEGAL_TRANSITION" } });
  });

  it("A33: confirms nobody's claim to another site, nor one that is over, by whatever report; all of it is on record", async () => {
    let now = Date.now();
    await using hub = await startTestHub(kind, { clock: { ...systemClock, now: () => now } });
    await using site = await testSite(hub, "lab-a");
    await using other = await testSite(hub, "lab-b");
    const client = await hub.client("submitter");
    const { id } = await client.submit({ workflow: "w" });
    const claim = await site.take("w");
    const confirm = async (by: TestSite, assignment: Assignment): Promise<string | undefined> =>
      (await by.send([by.draft(assignment, { state: "READY", phase: "claimed" })]))[0]?.outcome;
    const isFree = async (): Promise<boolean> => {
      const job = await client.job(id);
      return job.site === null && job.attempt === 0 && job.state === "READY";
    };
    // To another site; with the number of a claim that is to come; with somebody else's operation.
    expect(await confirm(other, claim)).toBe("fenced");
    expect(await confirm(site, { ...claim, epoch: claim.epoch + 1 })).toBe("fenced");
    expect(await confirm(site, { ...claim, op_id: "nmdc:sys0foreign" })).toBe("refused");
    expect(await client.job(id)).toMatchObject({ site: "lab-a", state: "READY", phase: "claimed" });
    // Out of date: its lease ran out, nobody has it.
    now += leaseMs + 1;
    await other.sync({ free: [] });
    expect(await isFree()).toBe(true);
    expect(await confirm(site, claim)).toBe("fenced");
    expect(await isFree()).toBe(true);
    // Replayed, when the other one has it and when that one has confirmed.
    const next = await other.take("w");
    expect(await confirm(site, claim)).toBe("fenced");
    expect(await confirm(site, { ...claim, epoch: next.epoch, op_id: next.op_id })).toBe("fenced");
    expect(await confirm(other, next)).toBe("applied");
    expect(await confirm(site, { ...claim, epoch: next.epoch, op_id: next.op_id })).toBe("fenced");
    expect(await client.job(id)).toMatchObject({ site: "lab-b", epoch: next.epoch });
    const noted = hub.log.lines.filter((line) => line.includes("was not taken"));
    expect(noted.filter((line) => line.includes(`of site 'lab-a' was not taken: fenced ${id}`))).toHaveLength(5);
    expect(noted.filter((line) => line.includes(`of site 'lab-b' was not taken: fenced ${id}`))).toHaveLength(1);
    expect(noted.filter((line) => line.includes(": refused"))).toHaveLength(1);
  });

  it("counts the attempts of each holder from the start, after a hand-back between two attempts too", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    await using other = await testSite(hub, "lab-b");
    const client = await hub.client("submitter");
    const { id } = await client.submit({ workflow: "w" });
    const claim = await site.take("w");
    await site.report(claim, { state: "RUNNING", phase: "started", attempt: 1 });
    await site.report(claim, { seq: 2, state: "RUN_ERROR", attempt: 1 });
    await site.report(claim, { seq: 3, state: "RESTART_READY", attempt: 1 });
    await site.post(`/jobs/${id}:release`, { epoch: claim.epoch, reason: "draining" });
    const next = await other.take("w");
    expect(await client.job(id)).toMatchObject({ attempt: 0, end: null });
    const [first] = await other.send([other.draft(next, { state: "READY", attempt: 0 })]);
    expect(first?.outcome).toBe("applied");
    await other.report(next, { seq: 2, state: "RUNNING", phase: "started", attempt: 1 });
    expect(await client.job(id)).toMatchObject({ attempt: 1, state: "RUNNING" });
  });

  it("ends a job that is handed back while it is being cancelled", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    const client = await hub.client("submitter");
    const { id } = await client.submit({ workflow: "w" });
    const claim = await site.take("w");
    await client.cancel(id);
    await site.post(`/jobs/${id}:release`, { epoch: claim.epoch, reason: "" });
    expect(await client.job(id)).toMatchObject({ status: "CANCELLED" });
  });

  it("does not let users claim", async () => {
    await using hub = await startTestHub(kind);
    const client = await hub.client("admin");
    const { id } = await client.submit({ workflow: "w" });
    const answer = await fetch(`${hub.url}/siteagent/v1/jobs/${id}:claim`, {
      method: "POST",
      headers: { authorization: `Bearer ${await hub.userToken("admin")}` },
    });
    expect(answer.status).toBe(403);
    expect(await answer.json()).toMatchObject({ code: "FORBIDDEN" });
  });
});
