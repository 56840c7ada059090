import type { Hold, JobState, Phase } from "./states.ts";

/** The public words, as Tapis users know them. */
export const statuses = [
  "PENDING",
  "PROCESSING_INPUTS",
  "STAGING_INPUTS",
  "STAGING_JOB",
  "SUBMITTING_JOB",
  "QUEUED",
  "RUNNING",
  "ARCHIVING",
  "BLOCKED",
  "PAUSED",
  "FINISHED",
  "FAILED",
  "CANCELLED",
] as const;
export type Status = (typeof statuses)[number];

const finalStatuses: readonly Status[] = ["FINISHED", "FAILED", "CANCELLED"];

export function isFinalStatus(status: Status): boolean {
  return finalStatuses.includes(status);
}

const byPhase: Record<Phase, Status | undefined> = {
  none: undefined,
  claimed: "PROCESSING_INPUTS",
  staging: "STAGING_INPUTS",
  submitting: "SUBMITTING_JOB",
  queued: "QUEUED",
  started: "RUNNING",
  suspended: "RUNNING",
  archiving: "ARCHIVING",
};

const byState: Record<JobState, Status> = {
  CREATED: "PENDING",
  AWAITING_PARENTS: "PENDING",
  READY: "PENDING",
  STAGED_IN: "STAGING_JOB",
  PREPROCESSED: "STAGING_JOB",
  RUNNING: "RUNNING",
  RUN_DONE: "ARCHIVING",
  POSTPROCESSED: "ARCHIVING",
  STAGED_OUT: "ARCHIVING",
  RUN_ERROR: "RUNNING",
  RUN_TIMEOUT: "RUNNING",
  RESTART_READY: "STAGING_JOB",
  JOB_FINISHED: "FINISHED",
  FAILED: "FAILED",
  CANCELLED: "CANCELLED",
};

/** The public status: the end if there is one, else the hold, else the phase, else the state. A job being cancelled shows where it still is. */
export function statusOf(state: JobState, phase: Phase, hold: Pick<Hold, "kind"> | undefined): Status {
  const base = byState[state];
  if (isFinalStatus(base)) return base;
  if (hold?.kind === "blocked") return "BLOCKED";
  if (hold?.kind === "paused") return "PAUSED";
  return byPhase[phase] ?? base;
}
