import { accessSync, constants, existsSync } from "node:fs";
import { release } from "node:os";
import { dirname } from "node:path";
import type { Probe } from "../../common/adapter.ts";
import type { CallContext } from "../../common/context.ts";
import { failpoint } from "../../common/failpoint.ts";
import { Fault } from "../../common/fault.ts";
import { CappedOutput } from "../output.ts";
import type { Host, RunRequest, RunResult } from "../types.ts";
import { LocalFiles } from "./files.ts";
import { signalGroup, type Started, startCommand } from "./processes.ts";

/** Between TERM and KILL when a command has run out of time. */
const graceMs = 2_000;
/** How long output may still come after the exit, from processes that left the group and hold the pipe. */
const drainMs = 500;

export interface LocalHostOptions {
  readonly name: string;
  /** Absolute. */
  readonly workdir: string;
}

/** This machine, as the account of the agent. */
export class LocalHost implements Host {
  readonly kind = "local";
  readonly name: string;
  readonly workdir: string;
  readonly files: LocalFiles;

  constructor(options: LocalHostOptions) {
    this.name = options.name;
    this.workdir = options.workdir;
    this.files = new LocalFiles(options.workdir);
  }

  async probe(): Promise<Probe> {
    const place = nearestExisting(this.workdir);
    try {
      accessSync(`${place}/`, constants.W_OK | constants.X_OK);
      return { ok: true, version: `${process.platform} ${release()}` };
    } catch {
      const reason = `'${place}' is no directory that this account may write`;
      return { ok: false, reason, hint: `mkdir -p '${this.workdir}' && chown "$(id -un)" '${this.workdir}'` };
    }
  }

  /**
   * Runs a helper command in a session and process group of its own. When it ends, when its time is over (TERM, 2 s, KILL) or when the
   * context aborts (KILL), what is left of the group is killed.
   * @throws Fault LAUNCH when nothing was started, CANCELLED when the context aborted.
   */
  async run(request: RunRequest, context: CallContext): Promise<RunResult> {
    if (context.signal.aborted) throw cancelled(request);
    const stdout = new CappedOutput(request.maxOutputBytes);
    const stderr = new CappedOutput(request.maxOutputBytes);
    await failpoint("host.before-run");
    const started = await startCommand(request, stdout, stderr);
    const { exitCode, signal, timedOut } = await follow(started, request, context);
    await drain(started, context);
    await failpoint("host.after-run");
    if (context.signal.aborted && !timedOut && signal !== undefined) throw cancelled(request);
    const truncated = stdout.truncated || stderr.truncated;
    return { exitCode, signal, stdout: stdout.text, stderr: stderr.text, truncated, timedOut };
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

interface Ending {
  readonly exitCode: number | undefined;
  readonly signal: string | undefined;
  readonly timedOut: boolean;
}

async function follow(started: Started, request: RunRequest, context: CallContext): Promise<Ending> {
  const { pid, ended } = started;
  let timedOut = false;
  const kill = (signal: NodeJS.Signals): void => {
    if (!ended.aborted) signalGroup(pid, signal);
  };
  const onAbort = (): void => kill("SIGKILL");
  context.signal.addEventListener("abort", onAbort, { once: true });
  if (context.signal.aborted) onAbort();
  const limit = async (): Promise<void> => {
    await context.clock.sleep(request.timeoutMs, ended);
    if (ended.aborted) return;
    timedOut = true;
    kill("SIGTERM");
    await context.clock.sleep(graceMs, ended);
    kill("SIGKILL");
  };
  try {
    const [ending] = await Promise.all([started.exited, limit()]);
    return { ...ending, timedOut };
  } finally {
    context.signal.removeEventListener("abort", onAbort);
  }
}

/** Waits for the end of the output, but not for processes that escaped with it. */
async function drain({ child, closed }: Started, context: CallContext): Promise<void> {
  const done = new AbortController();
  await Promise.race([closed.then(() => done.abort()), context.clock.sleep(drainMs, done.signal)]);
  child.stdout?.destroy();
  child.stderr?.destroy();
}

function cancelled(request: RunRequest): Fault {
  return new Fault("CANCELLED", `'${request.argv[0]}' was ended by request`);
}

function nearestExisting(path: string): string {
  for (let place = path; ; place = dirname(place)) {
    if (existsSync(place) || place === dirname(place)) return place;
  }
}
