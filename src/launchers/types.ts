import type { Adapter, Handle } from "../common/adapter.ts";
import type { CallContext } from "../common/context.ts";
import type { Token } from "../common/token.ts";
import type { Resources, Warning } from "../jobs/app.ts";
import type { MpiStarter } from "../jobs/mpi.ts";
import type { AttemptEnd } from "../jobs/states.ts";

/** Everything needed to start one attempt; made by the pure functions of command.ts, stored in the journal, contains no secrets. */
export interface AttemptPlan {
  readonly token: Token;
  /** 1, 2, …; also `SITEAGENT_ATTEMPT` in the environment. */
  readonly attempt: number;
  /** Absolute; evidence goes here (started/, shim, job, out, err, timeout, rc). Exists, empty, 0700. */
  readonly directory: string;
  /** Absolute; the command's working directory. Exists. */
  readonly workDirectory: string;
  readonly argv: readonly [string, ...string[]];
  /** The whole environment, built from nothing. */
  readonly environment: Readonly<Record<string, string>>;
  readonly runtime: "plain" | "pty";
  /** e.g. 0o077. */
  readonly umask: number;
  /** Time limit of the attempt, held without the agent; undefined = none. */
  readonly limitMs: number | undefined;
  /** Between TERM and KILL. */
  readonly graceMs: number;
  /** A signal before the limit, sent without the agent. */
  readonly warning?:
    | { readonly signal: Warning["signal"]; readonly beforeMs: number; readonly to: Warning["to"] }
    | undefined;
  /** Cap of each of out and err. */
  readonly maxOutputBytes: number;
  readonly resources: Resources;
  /** Ids of GPUs that are the attempt's alone; only where we give them out. */
  readonly gpus?: readonly string[] | undefined;
  readonly container?: ContainerTrace | undefined;
  /** The MPI starter whose program `argv[0]` is and whose options follow: who gives it some nodes of many says there which. */
  readonly starter?: MpiStarter | undefined;
}

/** A container that may be there after the processes that its attempt consists of, and whom to ask about it. */
export interface ContainerTrace {
  /** Podman's container is among the attempt's processes: with them it is dead, and only its storage may be left. Docker's is the daemon's. */
  readonly engine: "podman" | "docker";
  /** Path or name of the engine's program. */
  readonly program: string;
  readonly name: string;
}

/** How everybody names an attempt: the token is what the outside world stores; the directory holds its evidence. */
export interface AttemptRef {
  readonly token: Token;
  readonly directory: string;
  /** What `launch` or `find` returned, when known. */
  readonly handle?: Handle | undefined;
  /** Its container, if it has one, and the environment in which its engine is asked. */
  readonly container?: ContainerTrace | undefined;
  readonly environment?: Readonly<Record<string, string>> | undefined;
}

export type LaunchResult =
  | { readonly state: "accepted"; readonly handle: Handle }
  /** Certain that nothing ran and nothing will: `end.cause` is `launch` (or `infrastructure`). */
  | { readonly state: "refused"; readonly end: AttemptEnd }
  /** A limit of the moment (slots, queue caps, EAGAIN): try again later, nothing ran. */
  | { readonly state: "busy"; readonly reason: string }
  /** No clear answer: ask `find` before anything else. */
  | { readonly state: "unknown"; readonly why: string };

/** In which tier "nothing is left" is known (invariant 5). */
export type ProofTier = "cgroup" | "unit" | "subreaper" | "group" | "scheduler" | "never-started";

/** Three-valued: seen (queued, running, ended), authoritatively absent, could not tell (unknown). */
export type AttemptStatus =
  /** `stuck`: it will not start by itself. */
  | { readonly state: "queued"; readonly reason?: string; readonly stuck?: boolean }
  | { readonly state: "running"; readonly since: string; readonly suspended?: boolean; readonly node?: string }
  | {
      readonly state: "ended";
      readonly end: AttemptEnd;
      /** Processes of the attempt still alive although it ended; `[]` = proven gone by `tier`. */
      readonly remaining: readonly number[];
      readonly tier: ProofTier;
    }
  /** Never started and never will be by this token (no guard, no queue entry). */
  | { readonly state: "absent" }
  | {
      readonly state: "unknown";
      readonly why: "unreachable" | "unrecognised" | "not-listed" | "starting";
      readonly raw?: string;
    };

export type StopResult =
  | { readonly state: "stopping" }
  | { readonly state: "gone"; readonly tier: ProofTier }
  /** They live although they were killed; `why` says in what state they are. */
  | { readonly state: "remaining"; readonly pids: readonly number[]; readonly why?: string | undefined }
  | { readonly state: "unknown"; readonly why: string };

export interface LauncherCapabilities {
  readonly runtimes: readonly ("plain" | "pty")[];
  readonly tier: ProofTier;
  /** True when a terminal of a `pty` attempt can be attached to. */
  readonly attach: boolean;
}

/**
 * Starts attempts and follows them. Verbs are plural, one result per item in the same order; they throw only when nothing at
 * all could be asked. A second `launch` of a token never starts it a second time.
 */
export interface Launcher extends Adapter {
  readonly capabilities: LauncherCapabilities;
  /** Why what stands behind it (a scheduler) cannot be asked just now; undefined = it can, as far as is known. */
  readonly trouble?: string | undefined;
  launch(plans: readonly AttemptPlan[], context: CallContext): Promise<readonly LaunchResult[]>;
  /** After an unclear launch or a restart: which of these exist? `undefined` = proven not to. Throws UNREACHABLE/RUNNER when it cannot tell. */
  find(refs: readonly AttemptRef[], context: CallContext): Promise<readonly (Handle | undefined)[]>;
  statuses(refs: readonly AttemptRef[], context: CallContext): Promise<readonly AttemptStatus[]>;
  /** TERM, grace, KILL, verify; returns at once with `stopping` while that goes on. Idempotent. */
  stop(
    refs: readonly AttemptRef[],
    how: { readonly graceMs: number; readonly reason: string },
    context: CallContext,
  ): Promise<readonly StopResult[]>;
  /** Calls back with the token when an attempt probably changed (start, end); a hint, never proof. */
  watch(onChange: (token: Token) => void): Disposable;
}
