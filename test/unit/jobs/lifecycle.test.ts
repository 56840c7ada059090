/** Model of a whole life: the steps of `nextStep`, events as a fair but hostile world gives them, `decide` between. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { rulesOf } from "../../../src/agent/held-job.ts";
import { isFault } from "../../../src/common/fault.ts";
import {
  decide,
  type HookOutcome,
  type JobCore,
  type JobEvent,
  nextStep,
  type Step,
} from "../../../src/jobs/decide.ts";
import { archivePolicies, hookNames, type JobRules } from "../../../src/jobs/rules.ts";
import {
  type AttemptEnd,
  type EndCause,
  endCauses,
  type Failure,
  jobStates,
  phases,
} from "../../../src/jobs/states.ts";
import { isFinalStatus, statusOf, statuses } from "../../../src/jobs/status.ts";
import { isAllowed, isFinal, transitions } from "../../../src/jobs/transitions.ts";
import { appOf } from "./builders.ts";

const created: JobCore = { state: "CREATED", phase: "none", attempt: 0, tries: 0, hooks_done: [] };
const hold = { kind: "cancelling", reason: "test", since: "2026-01-01T00:00:00.000Z" } as const;
const failure: Failure = { code: "TEST", category: "user", message: "test" };

const end = fc.record({
  cause: fc.constantFrom(...(Object.keys(endCauses) as EndCause[])),
  exit_code: fc.option(fc.nat({ max: 3 }), { nil: undefined }),
  signal: fc.option(fc.constantFrom("SIGKILL", "SIGSEGV"), { nil: undefined }),
  evidence: fc.constant("rc"),
  ended_at: fc.constant("2026-01-01T00:00:00.000Z"),
}) satisfies fc.Arbitrary<AttemptEnd>;

const outcome: fc.Arbitrary<HookOutcome> = fc.oneof(
  fc.constant({ kind: "continue" } as const),
  fc.constantFrom({ kind: "restart", reason: "r" } as const, { kind: "accept", reason: "r" } as const),
  fc.constant({ kind: "fail", failure } as const),
);

const rules: fc.Arbitrary<JobRules> = fc.record({
  success: fc.record({ exit_codes: fc.constantFrom([0], [0, 2]), on_timeout: fc.boolean() }),
  retry: fc.record({
    attempts: fc.integer({ min: 1, max: 4 }),
    on: fc.subarray(["timeout", "node", "oom", "launch", "status-lost", "exit", "exit:2", "signal:SIGKILL"]),
    delay_ms: fc.constant(0),
  }),
  archive: fc.constantFrom(...archivePolicies),
  hooks: fc.subarray([...hookNames]),
});

const event: fc.Arbitrary<JobEvent> = fc.oneof(
  fc.constantFrom<JobEvent>(
    { type: "parents_open" },
    { type: "ready" },
    { type: "claimed" },
    { type: "staging" },
    { type: "inputs_staged" },
    { type: "submitting" },
    { type: "queued" },
    { type: "started" },
    { type: "suspended" },
    { type: "continued" },
    { type: "settled" },
    { type: "archiving" },
    { type: "outputs_staged" },
    { type: "archived" },
    { type: "finished" },
    { type: "fail", failure },
    { type: "cancel_requested", hold },
    { type: "proven_gone", reason: "r" },
    { type: "hold", hold: { ...hold, kind: "paused" } },
    { type: "unhold" },
    { type: "released" },
  ),
  end.map((value) => ({ type: "ended", end: value }) as const),
  fc.record({ type: fc.constant("hook_done" as const), hook: fc.constantFrom(...hookNames), outcome }),
);

/** What the world answers when a step is taken; `chance` picks among what may happen. */
function answer(step: Step, chance: World, job: JobCore): JobEvent {
  switch (step) {
    case "wait_parents":
      return { type: "ready" };
    case "stage_in":
      return { type: "inputs_staged" };
    case "preprocess":
    case "postprocess":
    case "handle_error":
    case "handle_timeout":
      return { type: "hook_done", hook: step, outcome: chance.outcome(job) };
    case "launch":
      return { type: "submitting" };
    case "follow":
      return job.state === "RUNNING" || chance.flip() ? { type: "ended", end: chance.end() } : { type: "started" };
    case "stop":
      return { type: "proven_gone", reason: "r" };
    case "settle":
      return { type: "settled" };
    case "stage_out":
      return { type: "outputs_staged" };
    case "finish":
      return { type: "finished" };
    case "archive":
      return { type: "archived" };
    case "none":
      throw new Error("a job that ended takes no step");
  }
}

interface World {
  flip(): boolean;
  end(): AttemptEnd;
  outcome(job: JobCore): HookOutcome;
}

const good: AttemptEnd = { cause: "exit", exit_code: 0, evidence: "rc", ended_at: "2026-01-01T00:00:00.000Z" };

/** Hostile for a while, then fair: hooks say continue, attempts exit 0. */
function worldOf(ends: readonly AttemptEnd[], outcomes: readonly HookOutcome[], flips: readonly boolean[]): World {
  const [endsLeft, outcomesLeft, flipsLeft] = [[...ends], [...outcomes], [...flips]];
  return {
    flip: () => flipsLeft.pop() ?? false,
    end: () => endsLeft.pop() ?? good,
    outcome: () => outcomesLeft.pop() ?? { kind: "continue" },
  };
}

describe("decide", () => {
  it("never leaves the table, whatever happens in whatever order", () => {
    fc.assert(
      fc.property(rules, fc.array(event, { maxLength: 60 }), (kind, events) => {
        let job = created;
        for (const one of events) {
          let decision;
          try {
            decision = decide(job, one, kind);
          } catch (error) {
            expect(isFault(error, "ILLEGAL_TRANSITION")).toBe(true);
            continue;
          }
          let from = job.state;
          for (const to of decision.path) {
            expect(isAllowed(from, to)).toBe(true);
            from = to;
          }
          expect(decision.job.state).toBe(from);
          expect(decision.job.attempt).toBeGreaterThanOrEqual(job.attempt);
          expect(decision.job.tries).toBeLessThanOrEqual(decision.job.attempt + events.length);
          if (isFinal(from)) expect(decision.job.hold).toBeUndefined();
          expect(statuses).toContain(statusOf(from, decision.job.phase, decision.job.hold));
          job = decision.job;
        }
      }),
      { numRuns: 500 },
    );
  });

  it("BAL-11: takes every job to an end when the world becomes fair, and never past the tries that the policy allows", () => {
    const life = [
      rules,
      fc.array(end, { maxLength: 8 }),
      fc.array(outcome, { maxLength: 8 }),
      fc.array(fc.boolean(), { maxLength: 8 }),
    ] as const;
    fc.assert(
      fc.property(...life, fc.nat({ max: 80 }), (kind, ends, outcomes, flips, cancelAt) => {
        const world = worldOf(ends, outcomes, flips);
        let job = created;
        for (let steps = 0; nextStep(job) !== "none"; steps++) {
          expect(steps).toBeLessThan(200);
          const cancels = steps === cancelAt && job.verdict === undefined;
          const next: JobEvent = cancels ? { type: "cancel_requested", hold } : answer(nextStep(job), world, job);
          const after = decide(job, next, kind).job;
          if (next.type === "settled" && after.state === "RESTART_READY" && job.end?.cause !== "infrastructure") {
            expect(job.tries).toBeLessThan(kind.retry.attempts);
          }
          job = after;
        }
        expect(isFinal(job.state)).toBe(true);
        if (job.state === "FAILED") expect(job.verdict).toMatchObject({ state: "FAILED" });
        if (job.state === "CANCELLED") expect(job.verdict).toMatchObject({ state: "CANCELLED" });
      }),
      { numRuns: 1000 },
    );
  });
});

it("D14: an attempt that runs is suspended and goes on, and may end as it is; nothing else can be suspended", () => {
  const running: JobCore = { ...created, state: "RUNNING", phase: "started", attempt: 1 };
  const kind = rulesOf(appOf());
  const suspended = decide(running, { type: "suspended" }, kind);
  expect(suspended).toEqual({ job: { ...running, phase: "suspended" }, path: [] });
  expect(nextStep(suspended.job)).toBe("follow");
  expect(decide(suspended.job, { type: "continued" }, kind).job).toEqual(running);
  expect(decide(suspended.job, { type: "ended", end: good }, kind).job).toMatchObject({
    state: "RUN_DONE",
    phase: "none",
  });
  for (const type of ["suspended", "continued"] as const) {
    expect(() => decide({ ...running, state: "PREPROCESSED" }, { type }, kind)).toThrow("does not fit");
  }
});

describe("status", () => {
  it("is a word of the list for every state, phase and hold; final exactly for final states", () => {
    for (const state of jobStates) {
      for (const phase of phases) {
        for (const kind of [undefined, "blocked", "paused", "cancelling"] as const) {
          const status = statusOf(state, phase, kind && { kind });
          expect(statuses).toContain(status);
          expect(isFinalStatus(status)).toBe(isFinal(state));
        }
      }
    }
  });
});

it("has a way from every state to the good end, and from none that is final", () => {
  for (const from of jobStates) {
    const seen = new Set<string>();
    const next = [from];
    for (let state = next.pop(); state !== undefined; state = next.pop()) {
      if (seen.has(state)) continue;
      seen.add(state);
      next.push(...transitions[state]);
    }
    expect(seen.has("JOB_FINISHED")).toBe(!isFinal(from) || from === "JOB_FINISHED");
  }
});
