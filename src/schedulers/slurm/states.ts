import type { Verdict } from "../types.ts";

/** What a word of Slurm's for a state means to us. */
export type Meaning =
  | { readonly as: "queued"; readonly stuck?: true }
  | { readonly as: "running"; readonly suspended?: true }
  /** The run is over, its epilog is not: how it ended is not told while this shows. A requeued job shows it, too, and waits again after. */
  | { readonly as: "finishing" }
  | { readonly as: "ended"; readonly kind: Verdict["kind"] }
  | { readonly as: "unknown" };

const queued = { as: "queued" } as const;
const held = { as: "queued", stuck: true } as const;
const running = { as: "running" } as const;
const suspended = { as: "running", suspended: true } as const;
const finishing = { as: "finishing" } as const;
const unknown = { as: "unknown" } as const;

/**
 * All states and flags that Slurm's commands print, as word and as code (manual of squeue, JOB STATE CODES, and `job_state_string` of its
 * source). Text shows one word: a flag where there is one, else the base state.
 */
const meanings: Readonly<Record<string, Meaning>> = {
  PENDING: queued,
  PD: queued,
  // Nodes are being booted for it; nothing of it runs.
  CONFIGURING: queued,
  CF: queued,
  EXPEDITING: queued,
  POWER_UP_NODE: queued,
  REQUEUED: queued,
  RQ: queued,
  REQUEUE_FED: queued,
  RF: queued,
  REQUEUE_HOLD: held,
  RH: held,
  SPECIAL_EXIT: held,
  SE: held,
  RESV_DEL_HOLD: held,
  RD: held,
  RUNNING: running,
  R: running,
  SIGNALING: running,
  SI: running,
  RESIZING: running,
  RS: running,
  SUSPENDED: suspended,
  S: suspended,
  STOPPED: suspended,
  ST: suspended,
  COMPLETING: finishing,
  CG: finishing,
  STAGE_OUT: finishing,
  SO: finishing,
  COMPLETED: { as: "ended", kind: "completed" },
  CD: { as: "ended", kind: "completed" },
  FAILED: { as: "ended", kind: "failed" },
  F: { as: "ended", kind: "failed" },
  LAUNCH_FAILED: { as: "ended", kind: "launch" },
  RECONFIG_FAIL: { as: "ended", kind: "node" },
  CANCELLED: { as: "ended", kind: "cancelled" },
  CA: { as: "ended", kind: "cancelled" },
  TIMEOUT: { as: "ended", kind: "timeout" },
  TO: { as: "ended", kind: "timeout" },
  OUT_OF_MEMORY: { as: "ended", kind: "oom" },
  OOM: { as: "ended", kind: "oom" },
  NODE_FAIL: { as: "ended", kind: "node" },
  NF: { as: "ended", kind: "node" },
  BOOT_FAIL: { as: "ended", kind: "node" },
  BF: { as: "ended", kind: "node" },
  PREEMPTED: { as: "ended", kind: "preempted" },
  PR: { as: "ended", kind: "preempted" },
  DEADLINE: { as: "ended", kind: "limit" },
  DL: { as: "ended", kind: "limit" },
  // Another cluster of a federation started it: that one has to be asked.
  REVOKED: unknown,
  RV: unknown,
};

/** Of a state as it was printed: `CANCELLED by 1000`, `CANCELLED+`, `completed`. A word that is not in the table is unknown, never an end. */
export function meaningOf(state: string): Meaning {
  const [word = ""] = state.trim().toUpperCase().split(/[\s+]/);
  return Object.hasOwn(meanings, word) ? (meanings[word] ?? unknown) : unknown;
}

/** Who cancelled it, where the state says so: a uid, or a name. */
export function cancelledBy(state: string): string | undefined {
  return /^CANCELLED by (\S+)/i.exec(state.trim())?.[1];
}

/**
 * Reasons for which a waiting job will not start by itself. Limits per job never let it through, however long it waits; limits of a group
 * or user do.
 */
const stuckReasons: readonly RegExp[] = [
  /^JobHeld(?:User|Admin)$/,
  /^JobHoldMaxRequeue$/,
  /requeued[ _]held/i,
  /^DependencyNeverSatisfied$/,
  /^Partition(?:Node|Time)Limit$/,
  /^BadConstraints$/,
  /^Invalid(?:Account|QOS)$/,
  /^(?:Account|QOS)NotAllowed$/,
  /^Reservation(?:Deleted|Invalid)$/,
  /^(?:QOS|Assoc)Max\w+PerJob(?:Limit)?$/,
  /^(?:QOS|Assoc)Max\w+PerNode$/,
  /^MaxMemPerLimit$/,
  /^QOSMin\w+$/,
];

export function neverStarts(reason: string): boolean {
  return stuckReasons.some((pattern) => pattern.test(reason));
}
