import { Fault } from "../common/fault.ts";
import type { JobState } from "./states.ts";

/**
 * From state to allowed next states; a terminal state has an empty row. Any non-terminal state may also go to FAILED or
 * CANCELLED. PREPROCESSED and RESTART_READY may go to RUN_ERROR without RUNNING: an attempt that could not be started never ran.
 */
export const transitions = {
  CREATED: ["AWAITING_PARENTS", "READY"],
  AWAITING_PARENTS: ["READY"],
  READY: ["STAGED_IN"],
  STAGED_IN: ["PREPROCESSED", "READY"],
  PREPROCESSED: ["RUNNING", "RUN_ERROR", "READY"],
  RUNNING: ["RUN_DONE", "RUN_ERROR", "RUN_TIMEOUT"],
  RUN_DONE: ["POSTPROCESSED", "RESTART_READY"],
  POSTPROCESSED: ["STAGED_OUT"],
  STAGED_OUT: ["JOB_FINISHED"],
  RUN_ERROR: ["RESTART_READY", "RUN_DONE"],
  RUN_TIMEOUT: ["RESTART_READY", "RUN_DONE"],
  RESTART_READY: ["RUNNING", "RUN_ERROR", "READY"],
  JOB_FINISHED: [],
  FAILED: [],
  CANCELLED: [],
} as const satisfies Record<JobState, readonly JobState[]>;

/** True when nothing can follow. */
export function isFinal(state: JobState): boolean {
  return transitions[state].length === 0;
}

export function isAllowed(from: JobState, to: JobState): boolean {
  if (isFinal(from)) return false;
  return to === "FAILED" || to === "CANCELLED" || (transitions[from] as readonly JobState[]).includes(to);
}

/** @throws Fault ILLEGAL_TRANSITION when the table does not have it. */
export function assertAllowed(from: JobState, to: JobState): void {
  if (isAllowed(from, to)) return;
  throw new Fault("ILLEGAL_TRANSITION", `a job in state '${from}' cannot go to '${to}'`, { details: { from, to } });
}
