import { hostname } from "node:os";
import type { JobCore } from "../jobs/decide.ts";
import { isFinal } from "../jobs/transitions.ts";
import type { Report } from "../wire/agent-api.ts";
import type { HeldJob } from "./held-job.ts";
import type { Passed, TransitionExtras } from "./transition.ts";

/** What central is told of one step of a job. */
export function reportOf(
  before: HeldJob,
  core: JobCore,
  step: Passed,
  seq: number,
  at: string,
  extras: TransitionExtras,
): Report {
  const done = isFinal(step.state);
  const ended = step.state === "RUN_DONE" || step.state === "RUN_ERROR" || step.state === "RUN_TIMEOUT" || done;
  return {
    job: before.id,
    op_id: before.op_id,
    epoch: before.epoch,
    seq,
    attempt: step.attempt,
    state: step.state,
    phase: step.phase,
    at,
    done,
    ...(step.hold === undefined ? {} : { hold: step.hold }),
    ...(ended && core.end !== undefined ? { end: core.end } : {}),
    ...(done && core.verdict?.state === "FAILED" ? { failure: core.verdict.failure } : {}),
    ...(done && extras.outputs !== undefined ? { outputs: [...extras.outputs] } : {}),
    ...(done && extras.outputsCount !== undefined ? { outputs_count: extras.outputsCount } : {}),
    ...(done && Object.keys(before.data).length > 0 ? { data: before.data as Record<string, never> } : {}),
    ...(extras.message === undefined ? {} : { message: extras.message.slice(0, 2000) }),
  };
}

/** Paths of this machine, alone or as file: URLs; a path in an http(s) URL is the job's own and stays. */
const sitePath = /file:\/\/[^\s'",;)]*|(?<![\w/:.-])\/(?!\/)[^\s'",;)]+/g;

/**
 * With `agent.report: minimal` no text that leaves the site names a path or host of it, whatever a fault's message says. The
 * site's own history and log keep the whole text.
 */
export function discreet(report: Report, detail: "minimal" | "full"): Report {
  if (detail === "full") return report;
  const { message, hold, end, failure } = report;
  return {
    ...report,
    ...(message === undefined ? {} : { message: withoutPlaces(message) }),
    ...(hold === undefined ? {} : { hold: { ...hold, reason: withoutPlaces(hold.reason) } }),
    ...(end?.message === undefined ? {} : { end: { ...end, message: withoutPlaces(end.message) } }),
    ...(failure === undefined
      ? {}
      : {
          failure: {
            ...failure,
            message: withoutPlaces(failure.message),
            hint: failure.hint === undefined ? undefined : withoutPlaces(failure.hint),
          },
        }),
  };
}

function withoutPlaces(text: string): string {
  return text.replaceAll(sitePath, "[path]").replaceAll(hostname(), "[host]");
}
