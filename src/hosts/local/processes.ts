import { type ChildProcess, spawn } from "node:child_process";
import { statSync } from "node:fs";
import { errnoOf, Fault } from "../../common/fault.ts";
import type { CappedOutput } from "../output.ts";
import type { RunRequest } from "../types.ts";

/** A started command: leader of its own session and process group. */
export interface Started {
  readonly child: ChildProcess;
  readonly pid: number;
  /** Aborted in the turn in which the leader was reaped; after that its id may be somebody else's. */
  readonly ended: AbortSignal;
  /** Resolves when the leader has ended and was reaped. */
  readonly exited: Promise<{ readonly exitCode: number | undefined; readonly signal: string | undefined }>;
  /** Resolves when nobody holds its output any more. */
  readonly closed: Promise<void>;
}

/** Starts the command. @throws Fault LAUNCH when that cannot be done; then nothing ran. */
export async function startCommand(request: RunRequest, stdout: CappedOutput, stderr: CappedOutput): Promise<Started> {
  const [file, ...args] = request.argv;
  const child = spawnOrThrow(request, file, args);
  const { promise: exited, resolve } = Promise.withResolvers<Awaited<Started["exited"]>>();
  const over = new AbortController();
  child.once("exit", (code, signal) => {
    if (child.pid !== undefined) signalGroup(child.pid, "SIGKILL"); // what the command left behind in its group
    over.abort();
    resolve({ exitCode: code ?? undefined, signal: signal ?? undefined });
  });
  const closed = new Promise<void>((done) => child.once("close", () => done()));
  child.stdout?.on("data", (chunk: Buffer) => stdout.take(chunk));
  child.stderr?.on("data", (chunk: Buffer) => stderr.take(chunk));
  await new Promise<void>((done, fail) => {
    child.once("spawn", done);
    child.once("error", (error) => fail(launchFault(request, error)));
  });
  child.on("error", () => {}); // a failed kill; the group is signalled by its id anyway
  if (child.pid === undefined) throw new Fault("LAUNCH", `'${file}' was started without a pid`);
  child.stdin?.on("error", () => {}); // it may end before it has read all
  child.stdin?.end(request.stdin);
  return { child, pid: child.pid, ended: over.signal, exited, closed };
}

function spawnOrThrow(request: RunRequest, file: string, args: readonly string[]): ChildProcess {
  try {
    return spawn(file, args, {
      cwd: request.cwd,
      env: { LC_ALL: "C", ...request.environment },
      stdio: [request.stdin === undefined ? "ignore" : "pipe", "pipe", "pipe"],
      detached: true, // setsid: its own session and group, out of reach of our terminal
      shell: false,
    });
  } catch (error) {
    throw launchFault(request, error); // NUL in an argument, E2BIG, EAGAIN
  }
}

/**
 * Sends a signal to the whole group. Safe while the leader is not reaped, and in the same turn in which its exit is told: until then
 * no other process can have its id.
 */
export function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if (errnoOf(error) !== "ESRCH") throw error;
  }
}

function launchFault(request: RunRequest, error: unknown): Fault {
  const [file] = request.argv;
  const code = errnoOf(error) ?? "unknown error";
  if (code === "ENOENT" && !isDirectory(request.cwd)) {
    return new Fault("LAUNCH", `'${file}' could not be started: its directory '${request.cwd}' does not exist`, {
      cause: error,
    });
  }
  const path = request.environment["PATH"] ?? "";
  const hint = code === "ENOENT" && !file.includes("/") ? `'${file}' is in no directory of PATH '${path}'` : undefined;
  return new Fault("LAUNCH", `'${file}' could not be started: ${code}`, {
    ...(hint === undefined ? {} : { hint }),
    cause: error,
    details: { code },
  });
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
