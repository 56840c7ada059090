import type { Step } from "../jobs/decide.ts";
import type { HeldJob } from "./held-job.ts";

/** Steps in which the work of one job could end the process: they are journaled before they begin (quarantine.ts). */
const risky: ReadonlySet<Step> = new Set<Step>([
  "stage_in",
  "preprocess",
  "launch",
  "handle_error",
  "handle_timeout",
  "postprocess",
  "stage_out",
  "archive",
]);

/** Could this step of this job end the process? Not when nothing of the job's own is touched in it. */
export function isRisky(job: Pick<HeldJob, "app">, step: Step): boolean {
  return risky.has(step) && !isTrivial(job, step);
}

function isTrivial(job: Pick<HeldJob, "app">, step: Step): boolean {
  switch (step) {
    case "preprocess":
    case "postprocess":
    case "handle_error":
    case "handle_timeout":
      return job.app.hooks[step] === undefined;
    case "stage_in":
      return Object.keys(job.app.inputs).length === 0;
    case "stage_out":
    case "archive":
      return Object.keys(job.app.outputs).length === 0;
    default:
      return false;
  }
}
