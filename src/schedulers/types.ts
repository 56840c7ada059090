import type { Adapter } from "../common/adapter.ts";
import type { CallContext } from "../common/context.ts";
import type { Token } from "../common/token.ts";
import type { Host } from "../hosts/types.ts";
import type { Resources } from "../jobs/app.ts";

/** Where in a centre a job is to run: what the administrator set for the target. Values are data; adapters quote them. */
export interface Placement {
  /** Slurm partition, PBS or Grid Engine queue. */
  readonly queue?: string | undefined;
  readonly account?: string | undefined;
  readonly project?: string | undefined;
  readonly qos?: string | undefined;
  readonly constraint?: string | undefined;
  readonly reservation?: string | undefined;
  readonly licenses?: string | undefined;
  /** Whole nodes for this job alone. */
  readonly exclusive?: boolean | undefined;
  /** Grid Engine: the parallel environment that gives more than one slot. */
  readonly parallelEnvironment?: string | undefined;
  /** Further options of the scheduler's submit command, one word each, written by the administrator and by nobody else. */
  readonly native: readonly string[];
}

/** One scheduler job, or one array of alike tasks. */
export interface SubmitRequest {
  /** Stored durably before the submission; goes into the job's name and a second place, so that `find` finds it again. */
  readonly token: Token;
  /** 1: a plain job. More: an array with the indices 0 … tasks − 1. */
  readonly tasks: number;
  readonly resources: Resources;
  /** What the scheduler is asked for, whole seconds; the recorder's own limit lies below it. undefined: the scheduler's default. */
  readonly walltimeS: number | undefined;
  readonly placement: Placement;
  /** Absolute; exists. Where the scheduler starts the script. */
  readonly directory: string;
  /** Absolute path of a file for what the script itself prints (the command's output goes elsewhere). Its directory exists. */
  readonly log: string;
  /**
   * POSIX shell text after directives and prologue. `$SITEAGENT_TASK` is the index of the task (0 in a plain job), `$SITEAGENT_NATIVE_ID`
   * the scheduler's id of the job, `$SITEAGENT_RESTARTS` how often the scheduler itself began it again where it says so (else empty).
   */
  readonly body: string;
}

/** What identifies a job at the scheduler. Ids wrap and are used again: token and time of submission belong to the identity. Plain JSON. */
export interface ScheduledJob {
  /** As the scheduler prints it; of an array the parent's. Opaque outside the adapter. */
  readonly id: string;
  /** Cluster or server, where the scheduler named one; passed with every later command. */
  readonly cluster?: string | undefined;
  /** What the installation that took it calls itself, where that can be told: that another one does not have the job proves nothing. */
  readonly origin?: string | undefined;
  /** Index in an array; undefined for a plain job. */
  readonly task?: number | undefined;
  readonly token: Token;
  /** ISO 8601, our clock, just before the submission. */
  readonly submittedAt: string;
}

export type SubmitResult =
  /** `job` has no `task`; of an array it is the parent. */
  | { readonly state: "submitted"; readonly job: ScheduledJob }
  /** Certain: wrong request (account, queue, limits of size or time, …). `reason` in the scheduler's words. */
  | { readonly state: "rejected"; readonly reason: string }
  /** Certain that nothing was accepted, for a limit or quota of the moment: try again later. */
  | { readonly state: "limited"; readonly reason: string }
  /** No clear answer: it may have been accepted. Ask `find` before anything else. */
  | { readonly state: "unclear"; readonly why: string };

export type FindResult =
  /** Oldest first; more than one is a double submission. */
  | { readonly state: "found"; readonly jobs: readonly [ScheduledJob, ...ScheduledJob[]] }
  /** Queue and, where there is one, history were asked and do not have it. */
  | { readonly state: "absent" }
  | { readonly state: "unknown"; readonly why: string };

/**
 * How a scheduler says that a job ended. `node`: a node failed or could not be booted; `launch`: it could not be started (prolog,
 * directory, output file, shell); `limit`: another limit or deadline of the site.
 */
export const verdictKinds = [
  "completed",
  "failed",
  "cancelled",
  "timeout",
  "oom",
  "node",
  "preempted",
  "launch",
  "limit",
] as const;

/** How the scheduler says a job ended. Beside the exit record, never instead of it: success needs both (rule 0.10 of the design). */
export interface Verdict {
  readonly kind: (typeof verdictKinds)[number];
  readonly exitCode?: number | undefined;
  /** Name (`SIGKILL`). */
  readonly signal?: string | undefined;
  /** Who cancelled it, as the scheduler says (a uid or name). */
  readonly by?: string | undefined;
  /** What was left of an array was taken out of the queue: true of a task that had not begun, and says nothing of one that had. */
  readonly neverBegan?: boolean | undefined;
  /** The scheduler's own words: state, exit field, reason. */
  readonly raw: string;
  readonly source: "queue" | "accounting";
  /** ISO 8601. */
  readonly startedAt?: string | undefined;
  readonly endedAt?: string | undefined;
  readonly usage?: { readonly maxRssBytes?: number | undefined; readonly cpuSeconds?: number | undefined } | undefined;
}

/** Three-valued: seen (queued … ended), authoritatively absent, could not ask (unknown). */
export type ScheduledStatus =
  | {
      readonly state: "queued";
      /** Why it waits, in the scheduler's words. */
      readonly reason?: string | undefined;
      /** It will not start by itself: held, in an error state, or for a reason that never resolves. */
      readonly stuck?: boolean | undefined;
      /** How often the scheduler began it again. */
      readonly restarts?: number | undefined;
    }
  | {
      readonly state: "running";
      /** ISO 8601. */
      readonly since?: string | undefined;
      readonly nodes?: string | undefined;
      readonly suspended?: boolean | undefined;
      readonly restarts?: number | undefined;
    }
  /** Its end is certain, its clean-up is not over; how it ended is not said yet. */
  | { readonly state: "finishing" }
  | { readonly state: "ended"; readonly verdict: Verdict }
  /** Asked, queue and history, and neither has it. Not an end by itself: purged jobs look so, too. */
  | { readonly state: "absent" }
  | { readonly state: "unknown"; readonly why: string };

export type OrderResult =
  /** Accepted; only `statuses` tells that it happened. */
  | { readonly state: "requested" }
  /** The scheduler says that the job has ended, or that it does not know it. */
  | { readonly state: "over" }
  | { readonly state: "refused"; readonly reason: string }
  | { readonly state: "unknown"; readonly why: string };

export interface SchedulerCapabilities {
  readonly arrays: boolean;
  /** Tasks that one array can have at most. */
  readonly mostTasks: number;
  /** Where ended jobs can be asked for: accounting, the queue for a while, or nowhere. Known after `probe`. */
  readonly history: "accounting" | "queue" | "none";
}

/**
 * A batch scheduler. Verbs are plural, one result per item in the same order; they never throw for what a scheduler can answer, and
 * throw only when the host could not run the command at all. Commands run with a controlled environment (`LC_ALL=C`, no variables of an enclosing job), time limit and output limit.
 */
export interface Scheduler extends Adapter {
  readonly capabilities: SchedulerCapabilities;
  /** Each token at most once: an unclear answer is for the caller to resolve with `find`. */
  submit(requests: readonly SubmitRequest[], context: CallContext): Promise<readonly SubmitResult[]>;
  /** By token, in queue and history. `since`: ISO 8601, nothing older counts. */
  find(
    wanted: readonly { readonly token: Token; readonly since: string }[],
    context: CallContext,
  ): Promise<readonly FindResult[]>;
  /** One query of the queue for all, and one of the history for those that left it. */
  statuses(jobs: readonly ScheduledJob[], context: CallContext): Promise<readonly ScheduledStatus[]>;
  cancel(jobs: readonly ScheduledJob[], context: CallContext): Promise<readonly OrderResult[]>;
  hold(jobs: readonly ScheduledJob[], context: CallContext): Promise<readonly OrderResult[]>;
  release(jobs: readonly ScheduledJob[], context: CallContext): Promise<readonly OrderResult[]>;
  /** Pure: the whole text handed to the submit command. For `siteagent plan` and snapshot tests. */
  render(request: SubmitRequest): string;
}

/** What every built-in adapter is made from. One instance for each (host, kind): it is shared by all targets. */
export interface SchedulerOptions {
  readonly host: Host;
  /** The whole environment of its commands: `PATH` and what locates the scheduler (`SLURM_CONF`, `SGE_ROOT`, …), from the site file's host. */
  readonly environment: Readonly<Record<string, string>>;
}
