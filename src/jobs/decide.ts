import { Fault } from "../common/fault.ts";
import { classifyEnd, failureOf, type HookName, type JobRules, mayRetry } from "./rules.ts";
import type { AttemptEnd, Failure, Hold, JobState, Phase } from "./states.ts";
import { assertAllowed, isFinal } from "./transitions.ts";

/** What `decide` needs to know of a job. */
export interface JobCore {
  readonly state: JobState;
  readonly phase: Phase;
  readonly hold?: Hold | undefined;
  /** Number of the latest attempt; 0 = none yet. */
  readonly attempt: number;
  /** Ended attempts that count as tries (all causes but `infrastructure`). */
  readonly tries: number;
  /** How the latest attempt ended. */
  readonly end?: AttemptEnd | undefined;
  /** Decided but not entered: archiving comes first. */
  readonly verdict?: Verdict | undefined;
  /** Hooks already done for the current attempt; a handler runs once per end. */
  readonly hooks_done: readonly HookName[];
}

export type Verdict =
  | { readonly state: "FAILED"; readonly failure: Failure }
  | { readonly state: "CANCELLED"; readonly reason: string };

export type HookOutcome =
  | { readonly kind: "continue" }
  | { readonly kind: "restart"; readonly reason: string }
  | { readonly kind: "accept"; readonly reason: string }
  | { readonly kind: "fail"; readonly failure: Failure };

export type JobEvent =
  | { readonly type: "parents_open" }
  | { readonly type: "ready" }
  | { readonly type: "claimed" }
  | { readonly type: "staging" }
  | { readonly type: "inputs_staged" }
  | { readonly type: "hook_done"; readonly hook: HookName; readonly outcome: HookOutcome }
  | { readonly type: "submitting" }
  | { readonly type: "queued" }
  | { readonly type: "started" }
  | { readonly type: "suspended" }
  | { readonly type: "continued" }
  | { readonly type: "ended"; readonly end: AttemptEnd }
  | { readonly type: "settled" }
  | { readonly type: "archiving" }
  | { readonly type: "outputs_staged" }
  | { readonly type: "archived" }
  | { readonly type: "finished" }
  | { readonly type: "fail"; readonly failure: Failure }
  | { readonly type: "cancel_requested"; readonly hold: Hold }
  | { readonly type: "proven_gone"; readonly reason: string }
  | { readonly type: "hold"; readonly hold: Hold }
  | { readonly type: "unhold" }
  | { readonly type: "released" };

export interface Decision {
  /** The job after the event. */
  readonly job: JobCore;
  /** The states passed, in order; empty when only phase or hold changed. */
  readonly path: readonly JobState[];
}

/**
 * The next state of a job, and nothing else: pure, no clock, no I/O. Every state change of agent and hub goes through here.
 * @throws Fault ILLEGAL_TRANSITION when the event does not fit the state.
 */
export function decide(job: JobCore, event: JobEvent, rules: JobRules): Decision {
  if (isFinal(job.state)) throw misfit(job, event);
  switch (event.type) {
    case "parents_open":
      return go(job, "AWAITING_PARENTS");
    case "ready":
      return go(job, "READY");
    case "claimed":
      return inState(job, event, ["READY"], { phase: "claimed" });
    case "staging":
      return inState(job, event, ["READY"], { phase: "staging" });
    case "inputs_staged":
      return go(job, "STAGED_IN");
    case "hook_done":
      return afterHook(job, event.hook, event.outcome);
    case "submitting":
      return inState(job, event, ["PREPROCESSED", "RESTART_READY"], {
        phase: "submitting",
        attempt: job.attempt + 1,
        end: undefined,
        hooks_done: [],
      });
    case "queued":
      return inState(job, event, ["PREPROCESSED", "RESTART_READY"], { phase: "queued" });
    case "started":
      return go(job, "RUNNING", { phase: "started" });
    case "suspended":
      return inState(job, event, ["RUNNING"], { phase: "suspended" });
    case "continued":
      return inState(job, event, ["RUNNING"], { phase: "started" });
    case "ended":
      return ended(job, event.end, rules);
    case "settled":
      return settle(job, event, rules);
    case "archiving":
      return { job: { ...job, phase: "archiving" }, path: [] };
    case "outputs_staged":
      return go(job, "STAGED_OUT");
    case "finished":
      return go(job, "JOB_FINISHED", { hold: undefined });
    case "archived":
      return enterVerdict(job, event);
    case "fail":
      return fail(job, event.failure, rules);
    case "cancel_requested":
      return { job: { ...job, hold: event.hold }, path: [] };
    case "proven_gone":
      return cancelled(job, event.reason, rules);
    case "hold":
      if (job.hold?.kind === "cancelling") return { job, path: [] };
      return { job: { ...job, hold: event.hold }, path: [] };
    case "unhold":
      if (job.hold?.kind === "cancelling") return { job, path: [] };
      return { job: { ...job, hold: undefined }, path: [] };
    case "released":
      if (job.state === "READY") return { job: { ...job, phase: "none", hold: undefined }, path: [] };
      return go(job, "READY", { hold: undefined });
  }
}

/** What the holder of a job has to do next; with `decide` it makes the whole lifecycle. */
export type Step =
  | "wait_parents"
  | "stage_in"
  | "preprocess"
  | "launch"
  | "follow"
  | "stop"
  | "handle_error"
  | "handle_timeout"
  | "settle"
  | "postprocess"
  | "stage_out"
  | "finish"
  | "archive"
  | "none";

/** Pure: the step that follows from the stored job alone, so that a restarted agent goes on where the last one was. */
export function nextStep(job: JobCore): Step {
  if (isFinal(job.state)) return "none";
  if (job.verdict) return "archive";
  if (job.hold?.kind === "cancelling") return "stop";
  switch (job.state) {
    case "CREATED":
    case "AWAITING_PARENTS":
      return "wait_parents";
    case "READY":
      return "stage_in";
    case "STAGED_IN":
      return "preprocess";
    case "PREPROCESSED":
    case "RESTART_READY":
      return job.phase === "submitting" || job.phase === "queued" ? "follow" : "launch";
    case "RUNNING":
      return "follow";
    case "RUN_ERROR":
      return job.hooks_done.includes("handle_error") ? "settle" : "handle_error";
    case "RUN_TIMEOUT":
      return job.hooks_done.includes("handle_timeout") ? "settle" : "handle_timeout";
    case "RUN_DONE":
      return "postprocess";
    case "POSTPROCESSED":
      return "stage_out";
    case "STAGED_OUT":
      return "finish";
    case "JOB_FINISHED":
    case "FAILED":
    case "CANCELLED":
      return "none";
  }
}

function go(job: JobCore, to: JobState, change: Partial<JobCore> = {}): Decision {
  assertAllowed(job.state, to);
  return { job: { ...job, phase: "none", ...change, state: to }, path: [to] };
}

function inState(job: JobCore, event: JobEvent, allowed: readonly JobState[], change: Partial<JobCore>): Decision {
  if (!allowed.includes(job.state)) throw misfit(job, event);
  return { job: { ...job, ...change }, path: [] };
}

/** An attempt may end before anybody saw it run; then RUNNING is passed on the way (it did start), except for cause `launch`. */
function ended(job: JobCore, end: AttemptEnd, rules: JobRules): Decision {
  const to = classifyEnd(end, rules.success);
  const change = { end, tries: job.tries + (end.cause === "infrastructure" ? 0 : 1) };
  if (job.state === "RUNNING" || end.cause === "launch") return go(job, to, change);
  const running = go(job, "RUNNING", { phase: "started" });
  const last = go(running.job, to, change);
  return { job: last.job, path: [...running.path, ...last.path] };
}

function afterHook(job: JobCore, hook: HookName, outcome: HookOutcome): Decision {
  const done = { ...job, hooks_done: [...job.hooks_done, hook] };
  if (outcome.kind === "fail")
    return { job: { ...done, verdict: { state: "FAILED", failure: outcome.failure } }, path: [] };
  if (hook === "preprocess") return go(job, "PREPROCESSED");
  if (outcome.kind === "restart") return go(job, "RESTART_READY");
  if (hook === "postprocess") return go(job, "POSTPROCESSED");
  if (outcome.kind === "accept") return go(job, "RUN_DONE");
  return { job: done, path: [] };
}

function settle(job: JobCore, event: JobEvent, rules: JobRules): Decision {
  if ((job.state !== "RUN_ERROR" && job.state !== "RUN_TIMEOUT") || !job.end) throw misfit(job, event);
  if (job.state === "RUN_TIMEOUT" && rules.success.on_timeout) return go(job, "RUN_DONE");
  if (mayRetry(job.end, job.tries, rules.retry)) return go(job, "RESTART_READY");
  return fail(job, failureOf(job.end), rules);
}

function fail(job: JobCore, failure: Failure, rules: JobRules): Decision {
  const verdict = { state: "FAILED", failure } as const;
  if (archivesOnFailure(rules) && job.attempt > 0) return { job: { ...job, verdict }, path: [] };
  return go({ ...job, verdict }, "FAILED", { hold: undefined });
}

function cancelled(job: JobCore, reason: string, rules: JobRules): Decision {
  const verdict = { state: "CANCELLED", reason } as const;
  if (archivesOnFailure(rules) && job.attempt > 0) return { job: { ...job, verdict }, path: [] };
  return go({ ...job, verdict }, "CANCELLED", { hold: undefined });
}

function enterVerdict(job: JobCore, event: JobEvent): Decision {
  if (!job.verdict) throw misfit(job, event);
  return go(job, job.verdict.state, { hold: undefined });
}

function archivesOnFailure(rules: JobRules): boolean {
  return rules.archive === "always" || rules.archive === "on_failure";
}

function misfit(job: JobCore, event: JobEvent): Fault {
  return new Fault(
    "ILLEGAL_TRANSITION",
    `event '${event.type}' does not fit a job in state '${job.state}', phase '${job.phase}'`,
    {
      details: { state: job.state, phase: job.phase, event: event.type },
    },
  );
}
