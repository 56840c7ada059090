import { expect, it } from "vitest";
import { parseOperation } from "../../../src/hub/jobs/document.ts";
import { onBothStores, startTestHub, type TestHub } from "./hub.ts";
import { testSite } from "./site.ts";

async function operation(hub: TestHub, id: string) {
  const row = await hub.ctx.store.db
    .selectFrom("operations")
    .select("doc")
    .where("id", "=", id)
    .executeTakeFirstOrThrow();
  return parseOperation(row);
}

const end = { cause: "exit", exit_code: 3, evidence: "rc", ended_at: "2026-01-01T00:00:00.000Z" } as const;
const failure = { code: "EXIT_CODE", category: "user", message: "the command exited with 3", exit_code: 3 } as const;

onBothStores("reports", (kind) => {
  it("A5: applies each once in order: duplicates are acknowledged, gaps name the number that is missing", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    const client = await hub.client("submitter");
    await client.submit({ workflow: "w" });
    const claim = await site.take("w");
    const staged = site.draft(claim, { seq: 1, state: "STAGED_IN" });
    const prepared = site.draft(claim, { seq: 2, state: "PREPROCESSED" });
    const running = site.draft(claim, { seq: 3, state: "RUNNING", phase: "started", attempt: 1 });
    const outcomes = async (reports: Parameters<typeof site.send>[0]) =>
      (await site.send(reports)).map(({ outcome, expected_seq }) => [outcome, expected_seq]);
    expect(await outcomes([running])).toEqual([["gap", 1]]);
    expect(await outcomes([staged, running, prepared, staged])).toEqual([
      ["applied", undefined],
      ["gap", 2],
      ["applied", undefined],
      ["duplicate", undefined],
    ]);
    expect(await outcomes([running, running])).toEqual([
      ["applied", undefined],
      ["duplicate", undefined],
    ]);
    expect(await client.job(claim.job)).toMatchObject({ state: "RUNNING", status: "RUNNING", attempt: 1 });
    expect((await operation(hub, claim.op_id)).metadata["siteagent"]).toMatchObject({
      state: "RUNNING",
      status: "RUNNING",
      attempt: 1,
      seq: 3,
    });
  });

  it("closes the operation at the end, and no later report contradicts it", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    const client = await hub.client("submitter");
    await client.submit({ workflow: "w" });
    const claim = await site.take("w");
    const sha256 = "a".repeat(64);
    const outputs = [{ output: "report", path: "report.json", bytes: 5, sha256, stored: true }];
    await site.finish(claim, { outputs });
    const closed = await operation(hub, claim.op_id);
    expect(closed.done).toBe(true);
    expect(closed.result).toMatchObject({ outputs: [{ path: "report.json", sha256 }] });
    const [late] = await site.send([site.draft(claim, { seq: 3, state: "FAILED", attempt: 1, done: true, failure })]);
    expect(late).toMatchObject({ outcome: "refused", detail: "the job ended as JOB_FINISHED" });
    expect(await client.job(claim.job)).toMatchObject({ status: "FINISHED", failure: null });
    const [entry] = await client.outputs.list(claim.job);
    expect(entry).toMatchObject({ path: "report.json", stored: false });
  });

  it("F16: takes very many outputs in several reports; the operation tells how many there are", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    const client = await hub.client("submitter");
    await client.submit({ workflow: "w" });
    const claim = await site.take("w");
    const outputs = Array.from({ length: 2_500 }, (_, n) => ({
      output: "all",
      path: `part-${n}`,
      bytes: 1,
      sha256: "a".repeat(64),
      stored: false,
    }));
    await site.report(claim, { state: "STAGED_OUT", attempt: 1, outputs: outputs.slice(0, 1_500) });
    await site.report(claim, { state: "JOB_FINISHED", attempt: 1, done: true, end, outputs: outputs.slice(1_500) });
    expect((await operation(hub, claim.op_id)).result).toEqual({ outputs: [], truncated: true, count: 2_500 });
    expect(await client.outputs.list(claim.job)).toHaveLength(2_500);
  });

  it("keeps why a job failed, on the job and in the operation's result", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    const client = await hub.client("submitter");
    await client.submit({ workflow: "w" });
    const claim = await site.take("w");
    await site.report(claim, { state: "RUNNING", phase: "started", attempt: 1 });
    await site.report(claim, { state: "FAILED", attempt: 1, done: true, end, failure });
    expect(await client.job(claim.job)).toMatchObject({ status: "FAILED", failure, end });
    expect((await operation(hub, claim.op_id)).result).toEqual({
      code: "EXIT_CODE",
      message: failure.message,
      details: { exit_code: 3, signal: null, cause: "exit" },
    });
  });

  it("refuses what the table of states does not have, and 'done' without an end", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    const client = await hub.client("submitter");
    await client.submit({ workflow: "w" });
    const claim = await site.take("w");
    await site.report(claim, { state: "RUNNING", phase: "started", attempt: 1 });
    await site.report(claim, { state: "POSTPROCESSED", attempt: 1 });
    const back = site.draft(claim, { seq: 3, state: "RUNNING", attempt: 1 });
    const early = site.draft(claim, { seq: 3, state: "STAGED_OUT", attempt: 1, done: true });
    const older = site.draft(claim, { seq: 3, state: "STAGED_OUT", attempt: 0 });
    for (const report of [back, early, older]) {
      const [result] = await site.send([report]);
      expect(result?.outcome).toBe("refused");
    }
    await site.report(claim, { state: "JOB_FINISHED", attempt: 1, done: true });
  });

  it("answers for each report by itself: unknown jobs, other holders and wrong operations stop nothing", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    await using other = await testSite(hub, "lab-b");
    const client = await hub.client("submitter");
    await client.submit({ workflow: "w" });
    await client.submit({ workflow: "w" });
    const mine = await site.take("w");
    const theirs = await other.take("w");
    const results = await site.send([
      site.draft({ ...mine, job: "nmdc:none" }, { state: "STAGED_IN" }),
      site.draft(theirs, { state: "STAGED_IN" }),
      site.draft({ ...mine, epoch: 9 }, { state: "STAGED_IN" }),
      site.draft({ ...mine, op_id: theirs.op_id }, { state: "STAGED_IN" }),
      site.draft(mine, { state: "STAGED_IN" }),
    ]);
    expect(results.map((result) => result.outcome)).toEqual(["unknown-job", "fenced", "fenced", "refused", "applied"]);
  });

  it("BAL-23: delivers an order until it is acknowledged, and the end of the job settles it", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    const client = await hub.client("submitter");
    await client.submit({ workflow: "w" });
    const claim = await site.take("w");
    await site.report(claim, { state: "RUNNING", phase: "started", attempt: 1 });
    const held = [{ job: claim.job, epoch: claim.epoch, seq: 1, state: "RUNNING" as const }];
    expect(await client.cancel(claim.job, "enough")).toMatchObject({
      result: "requested",
      job: { status: "RUNNING", hold: { kind: "cancelling", reason: "enough", by: "user:submitter" } },
    });
    expect(await client.cancel(claim.job)).toMatchObject({ result: "requested" });
    const [order] = (await site.sync({ held, hold_ms: 20_000 })).orders;
    expect(order).toMatchObject({ kind: "cancel", job: claim.job, reason: "enough", actor: "user:submitter" });
    expect((await site.sync({ held })).orders).toEqual([order]);
    const accepted = await site.sync({ held, orders: [{ id: order?.id ?? "", result: "accepted" }] });
    expect(accepted.orders).toEqual([]);
    await site.report(claim, { state: "RUNNING", phase: "started", attempt: 1 });
    expect((await client.job(claim.job)).hold?.kind).toBe("cancelling");
    await site.report(claim, { state: "CANCELLED", attempt: 1, done: true });
    expect(await client.job(claim.job)).toMatchObject({ status: "CANCELLED", hold: null });
    expect((await operation(hub, claim.op_id)).result).toMatchObject({ code: "CANCELLED" });
    expect(await client.cancel(claim.job)).toMatchObject({ result: "already-ended" });
  });

  it("BAL-23: ends an unconfirmed job at once when its site says that it does not hold it", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    const client = await hub.client("submitter");
    await client.submit({ workflow: "w" });
    const claim = await site.take("w");
    expect(await client.cancel(claim.job)).toMatchObject({ result: "requested" });
    const [order] = (await site.sync({ state: "draining" })).orders;
    await site.sync({ state: "draining", orders: [{ id: order?.id ?? "", result: "not-held" }] });
    expect(await client.job(claim.job)).toMatchObject({ status: "CANCELLED", site: null });
  });

  it("ends a confirmed job when its site says that nothing of it is left, and not when it says that it does not hold it", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    const client = await hub.client("submitter");
    await client.submit({ workflow: "w" });
    const claim = await site.take("w");
    await site.report(claim, { state: "RUNNING", phase: "started", attempt: 1 });
    await client.cancel(claim.job, "enough");
    const [first] = (await site.sync({ state: "draining" })).orders;
    await site.sync({ state: "draining", orders: [{ id: first?.id ?? "", result: "not-held" }] });
    expect(await client.job(claim.job)).toMatchObject({ state: "RUNNING", hold: { kind: "cancelling" } });
    await client.cancel(claim.job, "still");
    const [second] = (await site.sync({ state: "draining" })).orders;
    await site.sync({ state: "draining", orders: [{ id: second?.id ?? "", result: "done" }] });
    expect(await client.job(claim.job)).toMatchObject({ status: "CANCELLED", hold: null, site: "lab-a" });
    expect(await operation(hub, claim.op_id)).toMatchObject({ done: true, result: { code: "CANCELLED" } });
    const [late] = await site.send([site.draft(claim, { seq: 2, state: "RUN_DONE", attempt: 1 })]);
    expect(late?.outcome).toBe("fenced");
  });

  it("is given up by an operator alone, as FAILED; its holder is fenced from then on", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    const client = await hub.client("submitter");
    const operator = await hub.client("operator");
    await client.submit({ workflow: "w" });
    const claim = await site.take("w");
    await site.report(claim, { state: "RUNNING", phase: "started", attempt: 1 });
    await expect(client.cancel(claim.job, "mine", { force: true })).rejects.toMatchObject({ code: "FORBIDDEN" });
    const [refused] = await client.bulkAction("cancel", [claim.job], "mine", { force: true });
    expect(refused).toMatchObject({ result: "refused" });
    expect((await client.job(claim.job)).state).toBe("RUNNING");
    const [given] = await operator.bulkAction("cancel", [claim.job], "the site is gone", { force: true });
    expect(given).toMatchObject({ result: "done", job: { status: "FAILED" } });
    expect(await client.job(claim.job)).toMatchObject({
      state: "FAILED",
      failure: {
        code: "ABANDONED",
        message: expect.stringMatching(/^given up by .*: the site is gone; whether anything/),
      },
    });
    expect(
      (await site.sync({ state: "running", held: [{ job: claim.job, epoch: claim.epoch, seq: 1, state: "RUNNING" }] }))
        .fenced,
    ).toEqual([expect.objectContaining({ job: claim.job })]);
    const [late] = await site.send([site.draft(claim, { seq: 2, state: "RUN_DONE", attempt: 1 })]);
    expect(late?.outcome).toBe("fenced");
    expect(await operator.cancel(claim.job, "", { force: true })).toMatchObject({ result: "already-ended" });
  });
});
