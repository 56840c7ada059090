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
  /** Name (`SIGKILL`). A host that cannot tell a signal from an exit code gives the code that its shell makes of it (128 + number). */
  readonly signal: string | undefined;
  readonly stdout: string;
  readonly stderr: string;
  readonly truncated: boolean;
  readonly timedOut: boolean;
}

export interface FileStat {
  readonly type: "file" | "directory" | "link" | "other";
  readonly bytes: number;
  /** Of the host's clock: a hint, never compared with ours. */
  readonly mtimeMs: number;
  /** Permission bits. */
  readonly mode: number;
}

/**
 * Files below the host's workdir. Paths are absolute; one that is not below the workdir is refused with UNSAFE_PATH, and symbolic links in
 * it are not followed where the host can tell. "Not there" is an answer (`undefined`); anything else that fails is a Fault (UNREACHABLE
 * when the host could not be asked, else TRANSFER with the host's words).
 */
export interface HostFiles {
  /** A plain file's bytes from `offset`, at most `maxBytes`; undefined = not there, or no plain file. */
  read(
    path: string,
    options: { readonly offset?: number; readonly maxBytes: number },
    context: CallContext,
  ): Promise<Buffer | undefined>;
  /** Whole and durable under its final name: partial name, sync where the host can, rename. `mode`: permission bits. */
  write(
    path: string,
    content: string | Uint8Array,
    options: { readonly mode: number },
    context: CallContext,
  ): Promise<void>;
  /** Of the name itself: links are not followed. */
  stat(path: string, context: CallContext): Promise<FileStat | undefined>;
  /** With its parents (0700 unless `mode`); repeatable. The workdir itself is made, too. True when this very call made `path`: of several callers one. */
  mkdir(path: string, options: { readonly mode?: number }, context: CallContext): Promise<boolean>;
  /** Calls back when something in a directory probably changed: a hint. Absent where the host cannot tell. */
  watch?(path: string, onChange: (name: string) => void): Disposable;
  /** Names in a directory; undefined = not there, or no directory. */
  list(path: string, context: CallContext): Promise<readonly string[] | undefined>;
  /** A file or a whole tree; follows no link; gives itself permission where a program took it away. Nothing there is fine. */
  remove(path: string, context: CallContext): Promise<void>;
  /** What can still be written below the workdir; undefined = the host cannot say. `files`: inodes. */
  freeRoom(context: CallContext): Promise<{ readonly bytes: number; readonly files: number | undefined } | undefined>;
}

/** A place where commands run and files live; keyed by (host, user). */
export interface Host extends Adapter {
  readonly name: string;
  /** Absolute path below which all directories of jobs lie. */
  readonly workdir: string;
  readonly files: HostFiles;
  /**
   * Runs a helper command that lasts seconds (hooks, scheduler commands). On time-out the whole process group is killed.
   * @throws Fault LAUNCH when it certainly was not started; CANCELLED; UNREACHABLE when the host could not be asked or its answer was lost:
   * `details.started` is "no" when certainly nothing ran, else "unknown".
   */
  run(request: RunRequest, context: CallContext): Promise<RunResult>;
}
