import { type ChildProcessByStdio, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { waitFor } from "./wait.ts";

export interface DaemonOptions {
  /** Started in the foreground. */
  readonly argv: readonly [string, ...string[]];
  /** The whole environment. */
  readonly environment: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** File for what it prints; appended to. */
  readonly log: string;
}

/**
 * Starts the program, prints its pid and ends when it ends. When standard input closes, i.e. when the process of the tests has died by
 * whatever cause, the program is killed.
 */
const keeperScript = `
exec 3<&0
log=$1; shift
"$@" </dev/null 3<&- >>"$log" 2>&1 &
program=$!
echo "$program"
{ while read -r line; do :; done; kill -KILL "$program"; } <&3 >/dev/null 2>&1 &
reader=$!
exec >/dev/null
wait "$program"
kill "$reader" 2>/dev/null
`;

const longestLog = 8_000;

type Keeper = ChildProcessByStdio<Writable, Readable, null>;

/** A daemon of a test: known by its pid, ended by it, and ended with the process of the tests. */
export class Daemon implements AsyncDisposable {
  readonly pid: number;
  readonly #name: string;
  readonly #log: string;
  #ended = false;

  static async start(options: DaemonOptions): Promise<Daemon> {
    const keeper = spawn("/bin/sh", ["-c", keeperScript, "sh", options.log, ...options.argv], {
      cwd: options.cwd,
      env: options.environment,
      // A session of its own: an interrupt typed at the terminal must not reach it before the tests have ended.
      detached: true,
      stdio: ["pipe", "pipe", "ignore"],
    });
    keeper.stdin.on("error", () => {}); // it has ended already
    const pid = await Promise.race([firstLine(keeper.stdout), failed(keeper)]);
    return new Daemon(Number(pid), keeper, options);
  }

  private constructor(pid: number, keeper: Keeper, options: DaemonOptions) {
    this.pid = pid;
    this.#name = options.argv[0];
    this.#log = options.log;
    keeper.stdout.resume();
    keeper.once("close", () => {
      this.#ended = true;
    });
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** The end of what it printed. */
  get log(): string {
    return readFileSync(this.#log, "utf8").slice(-longestLog);
  }

  /** Sends the signal and waits for the end; KILL after `withinMs`. */
  async stop(signal: NodeJS.Signals = "SIGTERM", withinMs = 10_000): Promise<void> {
    const over = (): boolean => this.#ended;
    const end = (what: NodeJS.Signals, timeoutMs: number): Promise<unknown> => {
      if (!this.#ended) process.kill(this.pid, what); // its keeper has not reaped it, so the pid is its own
      return waitFor(over, { what: () => `the end of '${this.#name}':\n${this.log}`, timeoutMs });
    };
    try {
      await end(signal, withinMs);
    } catch {
      await end("SIGKILL", withinMs);
    }
  }

  /** Waits until `ready` says so. @throws Error with its log when it ends before. */
  async until(ready: () => boolean | Promise<boolean>, what: string, timeoutMs = 60_000): Promise<void> {
    await waitFor(async () => this.#ended || (await ready()), {
      what: () => `${what}; log of '${this.#name}':\n${this.log}`,
      timeoutMs,
    });
    if (this.#ended) throw new Error(`'${this.#name}' ended instead of ${what}:\n${this.log}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

async function firstLine(stream: Readable): Promise<string> {
  const lines = createInterface(stream);
  const { promise, resolve } = Promise.withResolvers<string>();
  lines.once("line", (line) => {
    lines.close();
    resolve(line);
  });
  return await promise;
}

function failed(keeper: Keeper): Promise<never> {
  return new Promise((_resolve, reject) => {
    keeper.once("error", reject);
    keeper.once("close", () => reject(new Error("the keeper of a daemon ended before it had started it")));
  });
}
