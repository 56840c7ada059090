import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { record } from "../../../src/agent/records.ts";
import { amend, transition } from "../../../src/agent/transition.ts";
import { isFault } from "../../../src/common/fault.ts";
import type { JobEvent } from "../../../src/jobs/decide.ts";
import { isFinal } from "../../../src/jobs/transitions.ts";
import { fuzz } from "../../helpers/fuzz.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { appOf } from "../../unit/jobs/builders.ts";
import { at, heldJobOf, liveAttempt } from "../../unit/agent/builders.ts";
import { openLedger, transitionDeps } from "./ledger.ts";

const hold = { kind: "cancelling", reason: "r", by: "ada", since: at } as const;
const end = { cause: "exit", exit_code: 0, evidence: "rc", ended_at: at } as const;
const events: readonly JobEvent[] = [
  { type: "claimed" },
  { type: "staging" },
  { type: "inputs_staged" },
  { type: "hook_done", hook: "preprocess", outcome: { kind: "continue" } },
  { type: "submitting" },
  { type: "queued" },
  { type: "started" },
  { type: "ended", end },
  { type: "settled" },
  { type: "hook_done", hook: "postprocess", outcome: { kind: "restart", reason: "again" } },
  { type: "archiving" },
  { type: "outputs_staged" },
  { type: "finished" },
  { type: "fail", failure: { code: "X", category: "user", message: "m" } },
  { type: "cancel_requested", hold },
  { type: "proven_gone", reason: "r" },
  { type: "hold", hold: { ...hold, kind: "paused" } },
  { type: "unhold" },
  { type: "archived" },
];

describe("a transition", () => {
  it("makes a report if and only if something changes, numbered without gaps, for any events in any order at once", async () => {
    await using directory = await temporaryDirectory();
    await using ledger = await openLedger(directory.path);
    const deps = transitionDeps(ledger);
    let count = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(fc.constantFrom(...events), { maxLength: 25 }), async (sequence) => {
        const id = `j${count++}`;
        await ledger.commit([record("job.held", { job: heldJobOf(id) }, id)], "effect");
        // All at once: the lock puts them in turn. What does not fit the state is refused and leaves no trace.
        const results = await Promise.allSettled(sequence.map((event) => transition(deps, id, event)));
        const refused = results.flatMap((result) => (result.status === "rejected" ? [result.reason as unknown] : []));
        expect(refused.filter((error) => !isFault(error, "ILLEGAL_TRANSITION"))).toEqual([]);
        const job = ledger.book.jobs.get(id);
        const reports = (ledger.book.outbox.get(id) ?? []).map((entry) => entry.report);
        expect(reports.map((report) => report.seq)).toEqual(reports.map((_, index) => index + 1));
        expect(job?.seq).toBe(reports.length);
        expect(reports.length === 0 ? "READY" : reports.at(-1)?.state).toBe(job?.state);
        expect(reports.slice(0, -1).some((report) => isFinal(report.state) || report.done)).toBe(false);
        expect(job?.history.map((entry) => entry.state)).toEqual(reports.map((report) => report.state));
        expect(job?.ended_at !== undefined).toBe(job !== undefined && isFinal(job.state));
      }),
      fuzz(60),
    );
    const expected = ledger.book.snapshot();
    await ledger.close();
    await using again = await openLedger(directory.path);
    expect(again.book.snapshot()).toEqual(expected);
  });

  it("F16: that tells very many outputs does so in several reports, the last of which is full and ends the job", async () => {
    await using directory = await temporaryDirectory();
    await using ledger = await openLedger(directory.path);
    const job = { ...heldJobOf("j"), state: "STAGED_OUT" as const };
    await ledger.commit([record("job.held", { job }, "j")], "effect");
    const outputs = Array.from({ length: 8 }, (_, n) => ({
      output: "all",
      path: `${n}`,
      bytes: n,
      sha256: "a".repeat(64),
      stored: false,
    }));
    // Three at once, say the tests' dependencies.
    const pages = [0, 1].map((n) => ({ begin: 100 * n, end: 100 * n + 100, after: "", last: "" }));
    await transition(transitionDeps(ledger), "j", { type: "finished" }, { outputs, outputPages: pages });
    const entries = ledger.book.outbox.get("j") ?? [];
    expect(entries.map(({ page }) => page)).toEqual([...pages, undefined, undefined, undefined]);
    const reports = entries.map((entry) => entry.report);
    expect(reports.map(({ state, done, outputs: some }) => [state, done, some?.map(({ path }) => path)])).toEqual([
      ["STAGED_OUT", false, undefined],
      ["STAGED_OUT", false, undefined],
      ["STAGED_OUT", false, ["0", "1", "2"]],
      ["STAGED_OUT", false, ["3", "4"]],
      ["JOB_FINISHED", true, ["5", "6", "7"]],
    ]);
    expect(reports.map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5]);
    expect(ledger.book.jobs.get("j")?.seq).toBe(5);
  });

  it("is not made when its turn comes too late", async () => {
    await using directory = await temporaryDirectory();
    await using ledger = await openLedger(directory.path);
    const deps = transitionDeps(ledger);
    await ledger.commit([record("job.held", { job: heldJobOf("j") }, "j")], "effect");
    const pause = transition(deps, "j", { type: "hold", hold: { ...hold, kind: "paused" } });
    const unblock = transition(deps, "j", { type: "unhold" }, { when: (job) => job.hold?.kind === "blocked" });
    await Promise.all([pause, unblock]);
    expect(ledger.book.jobs.get("j")?.hold?.kind).toBe("paused");
  });

  it("of a fenced job makes no report", async () => {
    await using directory = await temporaryDirectory();
    await using ledger = await openLedger(directory.path);
    const deps = transitionDeps(ledger);
    await ledger.commit([record("job.held", { job: heldJobOf("j", { fenced: "gone" }) }, "j")], "effect");
    await transition(deps, "j", { type: "claimed" });
    expect(ledger.book.jobs.get("j")).toMatchObject({ phase: "claimed", seq: 0 });
    expect(ledger.book.outbox.size).toBe(0);
  });

  it("ends the count of deaths when another step comes next, not before", async () => {
    await using directory = await temporaryDirectory();
    await using ledger = await openLedger(directory.path);
    const deps = transitionDeps(ledger);
    await ledger.commit([record("job.held", { job: heldJobOf("j") }, "j")], "effect");
    await amend(deps, "j", { entered: { step: "stage_in", deaths: 1 } }, "effect");
    expect((await transition(deps, "j", { type: "staging" })).entered).toEqual({ step: "stage_in", deaths: 1 });
    expect((await transition(deps, "j", { type: "inputs_staged" })).entered).toBeUndefined();
    await amend(deps, "j", { entered: { step: "launch", deaths: 0 }, attempts: [liveAttempt()] }, "effect");
    await transition(deps, "j", { type: "hook_done", hook: "preprocess", outcome: { kind: "continue" } });
    expect((await transition(deps, "j", { type: "submitting" })).entered).toBeUndefined();
  });

  it("keeps the latest 200 changes of a job that is blocked again and again", async () => {
    await using directory = await temporaryDirectory();
    await using ledger = await openLedger(directory.path);
    const deps = transitionDeps(ledger);
    await ledger.commit([record("job.held", { job: heldJobOf("j", { app: appOf() }) }, "j")], "effect");
    for (let tries = 1; tries <= 120; tries++) {
      await transition(deps, "j", { type: "hold", hold: { kind: "blocked", reason: "r", since: at, tries } });
      await transition(deps, "j", { type: "unhold" });
    }
    expect(ledger.book.jobs.get("j")).toMatchObject({ seq: 240, history: { length: 200 } });
  });
});
