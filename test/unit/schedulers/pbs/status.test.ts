import { assert, constantFrom, dictionary, integer, oneof, property, string } from "fast-check";
import { describe, expect, it } from "vitest";
import { newToken } from "../../../../src/common/token.ts";
import { secondsOf } from "../../../../src/schedulers/directive-words.ts";
import { judge } from "../../../../src/schedulers/pbs/look.ts";
import { parseQstat, type QstatAnswer } from "../../../../src/schedulers/pbs/qstat.ts";
import { bytesOf, type JobRecord, timeOf } from "../../../../src/schedulers/pbs/record.ts";
import { statusOf } from "../../../../src/schedulers/pbs/status.ts";
import type { ScheduledJob, ScheduledStatus, Verdict } from "../../../../src/schedulers/types.ts";
import { fuzz, fuzzing } from "../../../helpers/fuzz.ts";
import { finished } from "../../../helpers/steps.ts";
import { recorded } from "./recorded.ts";

const records = finished(parseQstat(recorded("qstat-after-signals"), "json")).records;

function verdict(record: JobRecord | undefined, flavour: "openpbs" | "torque" = "openpbs"): Verdict {
  const status = record && statusOf(record, flavour);
  if (status?.state !== "ended") throw new Error(`not ended: ${JSON.stringify(status)}`);
  return status.verdict;
}

function made(attributes: Readonly<Record<string, string>>, id = "1.s"): JobRecord {
  return { id, attributes: new Map(Object.entries(attributes)) };
}

describe("ends as a real OpenPBS told them", () => {
  it.each([
    ["0.pbshost", { kind: "completed", exitCode: 0 }],
    ["1.pbshost", { kind: "failed", exitCode: 3 }],
    ["2.pbshost", { kind: "failed", exitCode: 137 }],
    ["3.pbshost", { kind: "timeout" }],
    ["4.pbshost", { kind: "cancelled", signal: "SIGTERM", by: "alice@pbshost" }],
    ["6.pbshost", { kind: "cancelled" }],
    ["14.pbshost", { kind: "cancelled" }],
    ["7[].pbshost", { kind: "failed", exitCode: 1 }],
  ])("%s", (id, expected) => {
    expect(verdict(records.get(id))).toMatchObject(expected);
  });

  it("with times, usage and PBS's own words", () => {
    expect(verdict(records.get("3.pbshost"))).toEqual({
      kind: "timeout",
      by: undefined,
      raw: "job_state F; Exit_status -29; substate 93; Job run at Fri Nov 20 at 08:35 on (pbshost:ncpus=1) and exceeded resource walltime",
      source: "queue",
      startedAt: "2026-11-20T08:35:23.000Z",
      endedAt: "2026-11-20T08:35:44.000Z",
      usage: { maxRssBytes: 4560 * 1024, cpuSeconds: 0 },
    });
  });

  it("others are queued, held, running, and one can never run", () => {
    expect(records.get("8.pbshost") && statusOf(records.get("8.pbshost") as JobRecord, "openpbs")).toEqual({
      state: "queued",
      stuck: true,
      reason: "held (Hold_Types s); depend afterok:6.pbshost@pbshost",
    });
    expect(statusOf(records.get("9.pbshost") as JobRecord, "openpbs")).toEqual({
      state: "queued",
      stuck: true,
      reason: "Can Never Run: Insufficient amount of resource: ncpus (R: 64 A: 2 T: 2)",
    });
    expect(statusOf(records.get("15.pbshost") as JobRecord, "openpbs")).toEqual({
      state: "queued",
      reason: "Not Running: Not enough free nodes available",
    });
    expect(statusOf(records.get("12.pbshost") as JobRecord, "openpbs")).toEqual({
      state: "running",
      since: "2026-11-20T08:35:47.000Z",
      nodes: "pbshost/1",
    });
  });
});

describe("E11: ends have their own causes and are never success", () => {
  it.each([
    ["openpbs", "-1", "launch"],
    ["openpbs", "-4", "node"],
    ["openpbs", "-10", "launch"],
    ["openpbs", "-11", "preempted"],
    ["openpbs", "-20", "node"],
    ["openpbs", "-27", "oom"],
    ["openpbs", "-28", "limit"],
    ["openpbs", "-29", "timeout"],
    ["openpbs", "-4711", "failed"],
    ["torque", "-10", "oom"],
    ["torque", "-11", "timeout"],
    ["torque", "-12", "limit"],
    ["openpbs", "265", "failed"],
    ["openpbs", "271", "cancelled"],
    ["openpbs", "not a number", "cancelled"],
  ] as const)("%s %s is %s", (flavour, status, kind) => {
    const record = made({ job_state: flavour === "torque" ? "C" : "F", Exit_status: status });
    expect(verdict(record, flavour)).toMatchObject({ kind });
  });

  it("271 after all of the walltime is a timeout, as older servers tell it", () => {
    const used = { job_state: "F", Exit_status: "271", "Resource_List.walltime": "01:00:00" };
    expect(verdict(made({ ...used, "resources_used.walltime": "01:00:03" })).kind).toBe("timeout");
    expect(verdict(made({ ...used, "resources_used.walltime": "00:10:00" })).kind).toBe("cancelled");
  });

  it("a job that was deleted and ended with 0 is cancelled", () => {
    expect(verdict(made({ job_state: "F", Exit_status: "0", substate: "91" }))).toMatchObject({
      kind: "cancelled",
      exitCode: 0,
    });
  });

  it("any status but 0 is no success, and 0 only of a job that has ended", fuzzing, () => {
    const letter = oneof(
      constantFrom("Q", "W", "T", "H", "R", "B", "S", "U", "E", "F", "X", "C", "M"),
      string({ maxLength: 3 }),
    );
    const status = oneof(integer({ min: -40, max: 600 }).map(String), string());
    const more = dictionary(
      constantFrom("comment", "substate", "run_count", "stime", "Resource_List.walltime"),
      string(),
    );
    assert(
      property(letter, status, more, (job_state, Exit_status, attributes) => {
        const result = statusOf(made({ ...attributes, job_state, Exit_status }), "openpbs");
        if (result.state !== "ended" || result.verdict.kind !== "completed") return;
        expect(["F", "X", "C"]).toContain(job_state);
        expect(Number(Exit_status)).toBe(0);
      }),
      fuzz(200),
    );
  });
});

describe("E10: letters of states", () => {
  it.each([
    ["Q", "queued"],
    ["W", "queued"],
    ["T", "queued"],
    ["H", "queued"],
    ["R", "running"],
    ["B", "running"],
    ["S", "running"],
    ["U", "running"],
    ["E", "finishing"],
    ["M", "unknown"],
    ["r", "unknown"],
    ["", "unknown"],
    ["NEW", "unknown"],
  ])("'%s' is %s", (job_state, state) => {
    expect(statusOf(made({ job_state }), "openpbs").state).toBe(state);
  });

  it("E12: a job that was begun again says how often", () => {
    expect(statusOf(made({ job_state: "R", run_count: "3" }), "openpbs")).toMatchObject({ restarts: 2 });
    expect(statusOf(made({ job_state: "R", run_count: "1" }), "openpbs")).not.toHaveProperty("restarts");
    expect(statusOf(made({ job_state: "Q", run_count: "1" }), "openpbs")).toMatchObject({ restarts: 1 });
  });
});

describe("whose record it is", () => {
  const token = newToken();
  const job: ScheduledJob = { id: "1.s", token, submittedAt: "2026-11-20T08:00:00.000Z" };
  const ours = { job_state: "R", Job_Name: token, ctime: "Fri Nov 20 08:00:01 2026" };
  const answer = (given: readonly JobRecord[], more: Partial<QstatAnswer> = {}): QstatAnswer => ({
    records: new Map(given.map((record) => [record.id, record])),
    unknown: new Set(),
    finished: new Set(),
    historyOff: false,
    trouble: undefined,
    truncated: false,
    unreadable: false,
    ...more,
  });
  const asked = (given: readonly JobRecord[], more: Partial<QstatAnswer> = {}, wanted = job): ScheduledStatus =>
    judge(wanted, answer(given, more), "openpbs");

  it("E13: by its name or its variables", () => {
    expect(asked([made(ours)]).state).toBe("running");
    const variable = { ...ours, Job_Name: "renamed-by-the-site", "Variable_List.SITEAGENT_ATTEMPT_TOKEN": token };
    expect(asked([made(variable)]).state).toBe("running");
    expect(
      asked([made({ ...ours, Job_Name: "x", Variable_List: `A=b,SITEAGENT_ATTEMPT_TOKEN=${token},C=d` })]).state,
    ).toBe("running");
    const theirs = { ...ours, Job_Name: newToken(), "Variable_List.PBS_O_HOME": "/home/x" };
    expect(asked([made(theirs)])).toEqual({ state: "absent" });
    expect(asked([made({ ...ours, ctime: "Wed Nov 18 08:00:01 2026" })])).toEqual({ state: "absent" });
    expect(asked([made({ job_state: "R", Job_Name: "other" })]).state).toBe("unknown");
  });

  it("E5: no record and no word is unknown, the server's word is absence", () => {
    expect(asked([]).state).toBe("unknown");
    expect(asked([], { trouble: "down" })).toEqual({ state: "unknown", why: "down" });
    expect(asked([], { unknown: new Set(["1.s"]) })).toEqual({ state: "absent" });
  });

  it("E23: of a task that is over, when the record under its id is its array's, says nothing of how it ended", () => {
    const task = { ...job, id: "1[].s", task: 2 };
    const own = { ...ours, job_state: "X", substate: "93", Exit_status: "3", array_index: "2", array_id: "1[].s" };
    expect(asked([made(own, "1[2].s")], {}, task)).toMatchObject({ verdict: { kind: "failed", exitCode: 3 } });
    // As recorded of OpenPBS 23.06.06 without history, of a task that was deleted while its siblings ran.
    const standIn = { ...ours, job_state: "X", substate: "70", Exit_status: "0", comment: "Subjob finished" };
    expect(asked([made(standIn, "1[2].s")], {}, task)).toEqual({ state: "absent" });
    expect(asked([made({ ...standIn, job_state: "Q" }, "1[2].s")], {}, task).state).toBe("queued");
  });

  it("of a task that its array does not list", () => {
    const task = { ...job, id: "1[].s", task: 2 };
    const parent = (more: Readonly<Record<string, string>>): JobRecord =>
      made({ ...ours, array_indices_submitted: "0-3", ...more }, "1[].s");
    expect(asked([parent({ job_state: "Q" })], {}, task).state).toBe("queued");
    expect(asked([parent({ job_state: "B", array_indices_remaining: "2-3" })], {}, task).state).toBe("queued");
    expect(asked([parent({ job_state: "B", array_indices_remaining: "3" })], {}, task).state).toBe("unknown");
    expect(asked([parent({ job_state: "F" })], {}, task)).toMatchObject({ verdict: { kind: "cancelled" } });
    expect(asked([parent({ job_state: "F", Exit_status: "0" })], {}, task).state).toBe("unknown");
    expect(asked([parent({ job_state: "B" })], {}, { ...task, task: 4 })).toEqual({ state: "absent" });
    const subjob = made({ job_state: "X", Job_Name: token, array_index: "2", Exit_status: "3" }, "1[2].s");
    expect(asked([parent({ job_state: "B" }), subjob], {}, task)).toMatchObject({
      verdict: { kind: "failed", exitCode: 3 },
    });
  });
});

it("reads times, durations and sizes", () => {
  expect(timeOf("Fri Nov 20 08:35:22 2026")).toBe("2026-11-20T08:35:22.000Z");
  expect(timeOf("Thu Nov  5 08:35:22 2026")).toBe("2026-11-05T08:35:22.000Z");
  for (const odd of ["", "UNKNOWN", "ven. nov. 20 08:35:22 2026", "Fri Nov 20 25:99:99 2026"])
    expect(timeOf(odd)).toBeUndefined();
  expect(["00:00:19", "100:00:00", "12", "1:30", "x"].map(secondsOf)).toEqual([19, 360_000, 12, 90, undefined]);
  expect(["1460kb", "12b", "7", "2kw", "1gb", "x"].map(bytesOf)).toEqual([
    1460 * 1024,
    12,
    7,
    16 * 1024,
    1024 ** 3,
    undefined,
  ]);
});
