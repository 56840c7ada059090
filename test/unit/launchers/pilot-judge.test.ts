import { describe, expect, it } from "vitest";
import { isoTime } from "../../../src/common/clock.ts";
import { judgePilot, type PilotFacts, type PilotJudgement } from "../../../src/launchers/pilot/judge.ts";
import type { Evidence, ExitRecord } from "../../../src/runner/evidence.ts";

const t0 = Date.parse("2026-01-01T00:00:00Z");
const identity = { pid: 7, startTicks: 1, bootId: "b", pidNamespace: "1", machineId: "m", atMs: t0 };
const running = { guardAtMs: t0, recorder: { ...identity, mode: "perl" }, job: identity };

function record(change: Partial<ExitRecord> = {}): ExitRecord {
  return {
    kind: "exit",
    value: 0,
    atMs: t0 + 60_000,
    marker: undefined,
    alone: true,
    maxRssBytes: undefined,
    cpuSeconds: undefined,
    message: undefined,
    ...change,
  };
}

function judged(evidence: Partial<Evidence>, change: Partial<PilotFacts> = {}): PilotJudgement {
  const facts: PilotFacts = {
    evidence: {
      directory: "present",
      guardAtMs: undefined,
      barred: false,
      recorder: undefined,
      job: undefined,
      rc: undefined,
      gone: false,
      dropped: false,
      timeout: false,
      stop: false,
      cgroup: undefined,
      oom: undefined,
      ...evidence,
    },
    lost: false,
    withdrawn: false,
    lentMs: undefined,
    held: false,
    word: undefined,
    node: { host: "node7", calmAtMs: undefined, ending: undefined },
    over: undefined,
    nowMs: t0 + 120_000,
    ...change,
  };
  return judgePilot(facts, { recordMs: 60_000 });
}

const causeOf = (judgement: PilotJudgement): unknown =>
  judgement.state === "ended" ? judgement.end.cause : judgement.state;
const ended = { ...running, rc: record() };
const failed = { ...running, rc: record({ value: 3 }) };
const killed = { ...running, rc: record({ kind: "signal", value: 15 }) };
const calm = { host: "", calmAtMs: t0 + 61_500, ending: undefined };
const ending = (atMs: number, why = "the scheduler sent SIGTERM"): PilotFacts["node"] => ({
  host: "",
  calmAtMs: t0 + 50_000,
  ending: { atMs, why },
});
const overFor = (forMs: number): PilotFacts["over"] => ({ why: "the scheduler says 'PREEMPTED'", forMs });

describe("an attempt in an allocation", () => {
  it("waits, runs, and has ended by its own record", () => {
    expect(judged({})).toEqual({ state: "queued" });
    expect(judged(running)).toEqual({ state: "running", since: isoTime(t0), node: "node7" });
    expect(judged(ended)).toMatchObject({ state: "ended", end: { cause: "exit", exit_code: 0 }, tier: "subreaper" });
    expect(causeOf(judged({ ...running, rc: record({ kind: "launch", value: 127 }) }))).toBe("launch");
  });

  it("has not ended while something that it started lives, unless the allocation is over", () => {
    const rest = { ...running, rc: record({ alone: false }) };
    expect(causeOf(judged(rest))).toBe("running");
    expect(judged({ ...rest, gone: true })).toMatchObject({ state: "ended", tier: "subreaper" });
    expect(judged(rest, { over: overFor(0) })).toMatchObject({ state: "ended", tier: "scheduler" });
  });

  it("E11: that failed by itself is told from one that was ended with its allocation only after a sign of life", () => {
    expect(causeOf(judged(failed))).toBe("running");
    expect(causeOf(judged(failed, { node: calm }))).toBe("exit");
    expect(causeOf(judged(killed, { node: calm }))).toBe("signal");
    expect(causeOf(judged(failed, { node: { ...calm, calmAtMs: t0 + 60_500 } }))).toBe("running");
  });

  it("E11: that ended just before or after its node was told to end, ended with the allocation", () => {
    for (const evidence of [killed, failed]) {
      expect(causeOf(judged(evidence, { node: ending(t0 + 59_000) }))).toBe("infrastructure");
      expect(causeOf(judged(evidence, { node: ending(t0 + 61_000) }))).toBe("infrastructure");
      expect(causeOf(judged(evidence, { node: ending(t0 + 90_000) }))).not.toBe("infrastructure");
    }
    expect(causeOf(judged(ended, { node: ending(t0 + 59_000) }))).toBe("exit");
  });

  it("E11: that the node agent ended is no try; one that was ended by order, or by its own limit, is what it is", () => {
    const stopped = { ...running, rc: record({ kind: "signal", value: 15, marker: "stop" }) };
    expect(judged(stopped, { lost: true, node: ending(t0, "its time is over") })).toMatchObject({
      end: { cause: "infrastructure", message: "the allocation ended: its time is over" },
    });
    expect(causeOf(judged({ ...running, rc: record({ marker: "stop" }) }, { lost: true }))).toBe("infrastructure");
    expect(causeOf(judged(stopped, { node: ending(t0) }))).toBe("cancelled");
    const late = { ...running, rc: record({ kind: "signal", value: 15, marker: "timeout" }) };
    expect(causeOf(judged(late, { lost: true, node: ending(t0 + 60_000) }))).toBe("timeout");
  });

  it("E11: without a record is lost with its allocation, when the scheduler has proven that and the record had time to show", () => {
    expect(causeOf(judged(running, { node: ending(t0) }))).toBe("running");
    expect(causeOf(judged(running, { over: overFor(59_000) }))).toBe("running");
    expect(judged(running, { over: overFor(60_000) })).toMatchObject({
      end: { cause: "infrastructure", message: "the allocation was lost: the scheduler says 'PREEMPTED'" },
      tier: "scheduler",
      remaining: [],
    });
    expect(causeOf(judged(killed, { over: overFor(0) }))).toBe("infrastructure");
    expect(causeOf(judged(failed, { over: overFor(0) }))).toBe("exit");
  });

  it("that did not begin in an allocation that is over may begin elsewhere", () => {
    expect(judged({}, { over: overFor(1_000) })).toEqual({ state: "queued" });
    expect(judged({}, { over: overFor(60_000) })).toEqual({ state: "free" });
    expect(causeOf(judged({ directory: "missing" }, { over: overFor(60_000) }))).toBe("infrastructure");
  });

  it("on several nodes has ended when nothing of it is left on any of them, or the allocation is over", () => {
    expect(causeOf(judged(ended, { held: true }))).toBe("running");
    expect(causeOf(judged(running, { held: true, word: { kind: "gone" } }))).toBe("running");
    expect(judged(ended, { held: true, over: overFor(0) })).toMatchObject({ end: { exit_code: 0 } });
  });

  it("without walltime that ran through a whole allocation has reached a limit, and is told which", () => {
    const late = { ...running, rc: record({ kind: "signal", value: 15, marker: "timeout" as const }) };
    expect(judged(late, { lentMs: 7_200_000 })).toMatchObject({
      end: { cause: "timeout", message: expect.stringContaining("no walltime, and did not end within the 2h") },
    });
  });

  it("whose guard an order took never began", () => {
    expect(judged({ guardAtMs: t0 }, { withdrawn: true })).toEqual({ state: "absent" });
  });

  it("whose recorder was killed is gone when its node says so", () => {
    expect(causeOf(judged(running, { word: { kind: "gone" } }))).toBe("status-lost");
    expect(judged(running, { word: { kind: "failed", why: "no fork" } })).toMatchObject({ tier: "never-started" });
    expect(causeOf(judged({ directory: "missing" }, { word: { kind: "ended" } }))).toBe("status-lost");
    expect(causeOf(judged({ ...running, rc: "damaged" }, { word: { kind: "ended" } }))).toBe("running");
  });
});
