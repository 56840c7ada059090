/**
 * The words for where a job is. `state` is the milestone that is stored, `phase` says what goes on inside it, `hold` why it
 * does not move. The public `status` is a pure function of the three (status.ts).
 */

/** Each state with who sets it and what is true while it lasts. `docs/states.md` is generated from here. */
export const stateMeanings = {
  CREATED: "The job exists; the hub has not looked at its parents yet.",
  AWAITING_PARENTS: "The hub waits for parents that have not ended.",
  READY: "Nothing to wait for: claimable, or claimed and staging its inputs.",
  STAGED_IN: "Every input lies at its place, size and digest verified.",
  PREPROCESSED: "The preprocess hook is done (or there is none); the first attempt may start.",
  RUNNING: "An attempt was started, with proof (identity of the process or a scheduler's word).",
  RUN_DONE: "The attempt's exit is proven and within the app's success rule.",
  POSTPROCESSED: "The postprocess hook is done (or there is none); outputs are on their way.",
  STAGED_OUT: "Outputs lie at their destinations, verified.",
  RUN_ERROR: "The attempt ended otherwise, with a cause; handler and retry policy decide.",
  RUN_TIMEOUT: "The attempt was ended by its own time limit; handler and retry policy decide.",
  RESTART_READY: "The next attempt may start; the last one is proven dead.",
  JOB_FINISHED: "Ended well: results delivered and reported.",
  FAILED: "Ended: the failure says why, whose it is and what to do.",
  CANCELLED: "Ended by order; the remote side is proven gone.",
} as const;

export type JobState = keyof typeof stateMeanings;
export const jobStates = Object.keys(stateMeanings) as readonly JobState[];

export const phaseMeanings = {
  none: "nothing is under way inside the state",
  claimed: "a site holds the job and prepares it",
  staging: "inputs are being moved",
  submitting: "the attempt is being handed to the launcher",
  queued: "the launcher or scheduler has it, not started",
  started: "processes of the attempt run",
  suspended: "the attempt was stopped by SIGSTOP or suspended by its scheduler, and can go on",
  archiving: "outputs are being moved, before the end is entered",
} as const;

export type Phase = keyof typeof phaseMeanings;
export const phases = Object.keys(phaseMeanings) as readonly Phase[];

export const holdKinds = ["blocked", "paused", "cancelling"] as const;
export type HoldKind = (typeof holdKinds)[number];

/** Why a job does not move. */
export interface Hold {
  readonly kind: HoldKind;
  /** In words, for people. */
  readonly reason: string;
  /** ISO 8601. */
  readonly since: string;
  /** Who ordered it, for paused and cancelling. */
  readonly by?: string | undefined;
  /** Failed tries so far, for blocked. */
  readonly tries?: number | undefined;
  /** ISO 8601; when the next try is due, for blocked. */
  readonly next_try_at?: string | undefined;
}

/** Why an attempt ended; `docs/states.md` lists them. */
export const endCauses = {
  exit: "the command exited by itself",
  signal: "a signal that we did not send ended it",
  timeout: "its own time limit",
  oom: "out of memory, as the scheduler says or the kernel's count for the attempt's own control group; where only a count for more than the attempt is there, it reads as signal SIGKILL with a remark",
  node: "the machine or node went away (also: restarted)",
  launch: "it could not be started; nothing ran",
  infrastructure: "the allocation was lost or preempted; not a try",
  cancelled: "ended by an order",
  "status-lost": "it is gone and left no exit record; never success",
} as const;
export type EndCause = keyof typeof endCauses;

/** How an attempt ended, as proven. */
export interface AttemptEnd {
  readonly cause: EndCause;
  /** 0 … 255; absent when not known. */
  readonly exit_code?: number | undefined;
  /** Name (`SIGKILL`) when a signal is proven to have ended it. */
  readonly signal?: string | undefined;
  /** What proves it: `rc` (exit record), `identity` (process gone, no record), `accounting`, `queue`, `refused`. */
  readonly evidence: string;
  /** In words, for people; no secrets, at most a few hundred characters. */
  readonly message?: string | undefined;
  /** ISO 8601. */
  readonly started_at?: string | undefined;
  readonly ended_at: string;
  /** Peak memory in bytes and CPU seconds, where known. */
  readonly usage?:
    | { readonly max_rss_bytes?: number | undefined; readonly cpu_seconds?: number | undefined }
    | undefined;
}

export const failureCategories = ["user", "site", "service"] as const;

/** Why a job failed, whose it is and what to do. */
export interface Failure {
  /** Stable word, e.g. `EXIT_CODE`, `TIMEOUT`, `STAGE_IN`, `PARAMETERS`, `POLICY`. */
  readonly code: string;
  readonly category: (typeof failureCategories)[number];
  readonly message: string;
  readonly hint?: string | undefined;
  readonly exit_code?: number | undefined;
  readonly signal?: string | undefined;
  readonly scheduler_reason?: string | undefined;
}
