import { assert, constantFrom, integer, option, property, record } from "fast-check";
import { describe, expect, it } from "vitest";
import { newToken } from "../../../../src/common/token.ts";
import { verdictOf } from "../../../../src/schedulers/sge/failed.ts";
import { afterQueue, entryOf, recordGraceMs } from "../../../../src/schedulers/sge/history.ts";
import { JobMemory } from "../../../../src/schedulers/sge/memory.ts";
import { type AccountingRecord, parseQacct } from "../../../../src/schedulers/sge/qacct.ts";
import type { QueueEntry } from "../../../../src/schedulers/sge/qstat.ts";
import { statusOfLetters } from "../../../../src/schedulers/sge/states.ts";
import type { ScheduledJob, ScheduledStatus } from "../../../../src/schedulers/types.ts";
import { fuzz } from "../../../helpers/fuzz.ts";
import { recorded } from "./recorded.ts";

describe("E10: the letters of a state are a set", () => {
  it.each([
    ["qw", "queued"],
    ["hqw", "queued stuck"],
    ["hRqw", "queued stuck 1"],
    ["hRwq", "queued stuck 1"],
    ["Rq", "queued 1"],
    ["Eqw", "queued stuck"],
    ["EhRqw", "queued stuck 1"],
    ["t", "running"],
    ["Rt", "running 1"],
    ["r", "running"],
    ["hr", "running"],
    ["Rr", "running 1"],
    ["s", "running suspended"],
    ["S", "running suspended"],
    ["St", "running suspended"],
    ["tS", "running suspended"],
    ["T", "running suspended"],
    ["dr", "finishing"],
    ["dt", "finishing"],
    ["dRr", "finishing 1"],
    ["dEqw", "finishing"],
    ["dhqw", "finishing"],
    ["x", "finishing"],
    ["z", "unknown"],
    ["", "unknown"],
    ["running", "running"],
    ["?", "unknown"],
    ["r1", "unknown"],
  ])("'%s' is %s", (letters, expected) => {
    const status = statusOfLetters(letters, {});
    const words = [
      status.state,
      ...("stuck" in status && status.stuck ? ["stuck"] : []),
      ...("suspended" in status && status.suspended ? ["suspended"] : []),
      ...("restarts" in status && status.restarts !== undefined ? [String(status.restarts)] : []),
    ];
    expect(words.join(" ")).toBe(expected.replace("finishing 1", "finishing"));
  });
});

function only(name: string): AccountingRecord {
  const answer = parseQacct(recorded(name));
  const last = answer.state === "answer" ? answer.records.at(-1) : undefined;
  if (!last) throw new Error("no record");
  return last;
}

describe("E11: ends have their own causes and are never success", () => {
  it.each([
    ["qacct-exit", { kind: "failed", exitCode: 3 }],
    ["qacct-again", { kind: "failed", exitCode: 6 }],
    ["qacct-killed", { kind: "failed", signal: "SIGKILL", exitCode: 137 }],
    ["qacct-limit", { kind: "timeout", exitCode: 137 }],
    ["qacct-nolog", { kind: "launch", raw: "failed 26 (opening input/output file), exit_status 0" }],
  ])("%s", (name, expected) => {
    expect(verdictOf(only(name), false)).toMatchObject({ ...expected, source: "accounting" });
  });

  it("a deleted job has the same record as a killed one; who knows of the deletion says so", () => {
    expect(verdictOf(only("qacct-deleted"), false)).toMatchObject({ kind: "failed", signal: "SIGKILL" });
    expect(verdictOf(only("qacct-deleted"), true)).toMatchObject({ kind: "cancelled" });
    expect(verdictOf({ ...only("qacct-deleted"), deletedBy: "bob" }, false)).toMatchObject({
      kind: "cancelled",
      by: "bob",
    });
  });

  it.each([
    [{ failed: 0, exitStatus: 0 }, "completed"],
    [{ failed: 0, exitStatus: 137 }, "failed"],
    [{ failed: 1, exitStatus: 0 }, "launch"],
    [{ failed: 8, exitStatus: 0 }, "launch"],
    [{ failed: 15, exitStatus: 0 }, "completed"],
    [{ failed: 15, exitStatus: 2 }, "failed"],
    [{ failed: 19, exitStatus: 0 }, "node"],
    [{ failed: 21, exitStatus: 0 }, "node"],
    [{ failed: 28, exitStatus: 0 }, "launch"],
    [{ failed: 30, exitStatus: 100 }, "failed"],
    [{ failed: 37, exitStatus: 137 }, "limit"],
    [{ failed: 37, exitStatus: 137, category: "-l h_rt=60", wallclockSeconds: 61 }, "timeout"],
    [
      { failed: 37, exitStatus: 137, category: "-l h_rt=60,h_vmem=1M", wallclockSeconds: 3, maxVmemBytes: 2 ** 20 },
      "oom",
    ],
    [{ failed: 100, exitStatus: 0 }, "failed"],
    [{ failed: 100, exitStatus: 137, category: "-l h_rt=1:00:00", wallclockSeconds: 3_600 }, "timeout"],
    [{ failed: 999, exitStatus: 0 }, "launch"],
  ])("%j is %s", (more, kind) => {
    const base = { ...only("qacct-exit"), category: undefined, wallclockSeconds: undefined, maxVmemBytes: undefined };
    expect(verdictOf({ ...base, ...more }, false).kind).toBe(kind);
  });

  it("success needs exit status 0 of a job that ran", () => {
    const any = record({ failed: integer({ min: 0, max: 110 }), exitStatus: integer({ min: 0, max: 255 }) });
    assert(
      property(any, option(constantFrom("-l h_rt=1")), (more, category) => {
        const verdict = verdictOf({ ...only("qacct-exit"), ...more, category: category ?? undefined }, false);
        if (verdict.kind !== "completed") return;
        expect(more.exitStatus).toBe(0);
        expect([0, 12, 13, 14, 15, 16]).toContain(more.failed);
      }),
      fuzz(300),
    );
  });
});

describe("whose entry and whose record it is", () => {
  const token = newToken();
  const job: ScheduledJob = { id: "7", token, submittedAt: "2026-11-21T17:00:00.000Z" };
  const entry: QueueEntry = {
    id: "7",
    name: token,
    letters: "r",
    tasks: undefined,
    at: "2026-11-21T17:00:01.000Z",
    queue: "q@h",
  };
  const ended: AccountingRecord = {
    ...only("qacct-exit"),
    id: "7",
    name: token,
    submittedAt: "2026-11-21T17:00:01.000Z",
  };

  it("E13: by name and time, of a task by its number from 1", () => {
    expect(entryOf(job, [entry])).toBe(entry);
    expect(entryOf(job, [{ ...entry, name: newToken() }])).toBeUndefined();
    expect(entryOf(job, [{ ...entry, at: "2026-11-19T17:00:00.000Z" }])).toBeUndefined();
    const tasks = [
      { ...entry, tasks: "1" },
      { ...entry, tasks: "3-5:1", letters: "qw" },
    ];
    expect(entryOf({ ...job, task: 0 }, tasks)).toBe(tasks[0]);
    expect(entryOf({ ...job, task: 1 }, tasks)).toBeUndefined();
    expect(entryOf({ ...job, task: 4 }, tasks)).toBe(tasks[1]);
    expect(entryOf({ ...job, task: 5 }, tasks)).toBeUndefined();
  });

  const gone = (
    more: { records?: AccountingRecord[]; entries?: QueueEntry[]; known?: boolean; deleted?: "waiting" | "running" },
    ...times: number[]
  ): ScheduledStatus => {
    const memory = new JobMemory();
    if (more.known) memory.see(job, "r", 0);
    if (more.deleted) memory.deleted(job, more.deleted);
    let status: ScheduledStatus = { state: "unknown", why: "" };
    for (const now of times) status = afterQueue(job, more.entries ?? [], more.records ?? [], memory, now);
    return status;
  };

  it("E8: a job that was just there is finishing until its record comes, or too much time has passed", () => {
    expect(gone({ known: true }, 1)).toEqual({ state: "finishing" });
    expect(gone({ known: true }, 1, recordGraceMs)).toEqual({ state: "finishing" });
    expect(gone({ known: true }, 1, recordGraceMs + 1)).toEqual({ state: "absent" });
    expect(gone({}, 1)).toEqual({ state: "absent" });
    expect(gone({ known: true, deleted: "waiting" }, 1)).toEqual({ state: "absent" });
    expect(gone({ known: true, deleted: "running" }, 1)).toEqual({ state: "finishing" });
    expect(gone({ known: true, records: [ended] }, 1)).toMatchObject({
      state: "ended",
      verdict: { kind: "failed", exitCode: 3 },
    });
  });

  it("E13: a number that somebody else has now, and another's record, are not ours", () => {
    expect(gone({ known: true, entries: [{ ...entry, name: newToken() }] }, 1)).toEqual({ state: "absent" });
    expect(gone({ records: [{ ...ended, name: newToken() }] }, 1)).toEqual({ state: "absent" });
    expect(gone({ records: [{ ...ended, submittedAt: "2026-11-19T17:00:00.000Z" }] }, 1)).toEqual({ state: "absent" });
  });

  it("E12: a record of a run after which it was begun again is no end", () => {
    const again = { ...ended, failed: 25, exitStatus: 99 };
    expect(gone({ known: true, records: [again] }, 1)).toEqual({ state: "finishing" });
    expect(gone({ known: true, records: [again, ended] }, 1)).toMatchObject({ verdict: { exitCode: 3 } });
    expect(gone({ known: true, deleted: "waiting", records: [again] }, 1)).toMatchObject({
      verdict: { kind: "cancelled" },
    });
    expect(gone({ known: true, records: [again] }, 1, recordGraceMs + 1)).toMatchObject({
      verdict: { kind: "cancelled" },
    });
  });
});
