import type { Adapter } from "../common/adapter.ts";
import type { CallContext } from "../common/context.ts";

export interface RunRequest {
  /** Never a shell string. */
  readonly argv: readonly [string, ...string[]];
  /** Absolute. */
  readonly cwd: string;
  /** The whole environment; nothing is inherited. `LC_ALL=C` is set unless given. */
  readonly environment: Readonly<Record<string, string>>;
  readonly stdin?: string;
  readonly timeoutMs: number;
  /** Of stdout and stderr each; what is more is cut and said so. */
  readonly maxOutputBytes: number;
}

export interface RunResult {
  readonly exitCode: number | undefined;
  readonly signal: string | undefined;
  readonly stdout: string;
  readonly stderr: string;
  readonly truncated: boolean;
  readonly timedOut: boolean;
}

/** A place where commands run and files live; keyed by (host, user). */
export interface Host extends Adapter {
  readonly name: string;
  /** Absolute path below which all directories of jobs lie. */
  readonly workdir: string;
  /** Runs a helper command that lasts seconds (hooks, scheduler commands). On time-out the whole process group is killed. */
  run(request: RunRequest, context: CallContext): Promise<RunResult>;
}
