import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import type { Logger } from "../common/logger.ts";
import { lineReader } from "./protocol.ts";

/** What is heard of one recorder. */
export interface Heard {
  /** A line that it said. */
  line(line: string): void;
  /** It has ended, or nobody will tell when it does: its evidence must be asked. */
  over(): void;
  /** The spawner could not be started: nothing of this attempt ran. */
  refused(error: Error): void;
}

type Serving = ChildProcessByStdio<Writable, Readable, null>;

/**
 * One small process that forks the recorders. A fork costs what the forking process weighs, and this way a recorder needs no exec and
 * reads no script. It ends with the runner's end of its pipe, its recorders do not. When it is killed the next start makes another.
 */
export class Spawner {
  readonly #command: readonly [string, ...string[]];
  readonly #environment: Readonly<Record<string, string>>;
  readonly #log: Logger;
  readonly #heard = new Map<string, { readonly of: Serving; readonly heard: Heard }>();
  #serving: Serving | undefined;

  constructor(command: readonly [string, ...string[]], environment: Readonly<Record<string, string>>, log: Logger) {
    this.#command = command;
    this.#environment = environment;
    this.#log = log;
  }

  /** Starts it before it is needed, so that the first attempt does not wait for it. */
  warm(): void {
    try {
      this.#serving ??= this.#open();
    } catch (error) {
      this.#log.warn({ err: error }, "the process that forks recorders could not be started yet");
    }
  }

  /** Starts the recorder of a directory. `heard.over` comes once, as the last, unless `heard.refused` or the line `busy …` does. @throws Error of spawn. */
  start(token: string, directory: string, heard: Heard): void {
    this.#serving ??= this.#open();
    this.#heard.set(token, { of: this.#serving, heard });
    this.#serving.stdin.write(`${token} ${directory}\0`);
  }

  #open(): Serving {
    const [program, ...args] = this.#command;
    const child = spawn(program, args, {
      detached: true,
      stdio: ["pipe", "pipe", "ignore"],
      env: this.#environment,
      cwd: "/",
    });
    const onLine = lineReader((line) => this.#take(line));
    child.stdout.setEncoding("utf8").on("data", onLine);
    child.stdout.on("error", () => {});
    child.stdin.on("error", () => {});
    const end = (tell: (heard: Heard) => void): void => {
      if (this.#serving === child) this.#serving = undefined;
      for (const [token, { of, heard }] of this.#heard) {
        if (of !== child) continue;
        this.#heard.delete(token);
        tell(heard);
      }
    };
    child.once("error", (error) => end((heard) => heard.refused(error)));
    child.once("exit", (code, signal) => {
      this.#log.warn({ code, signal }, "the process that forks recorders has ended; the next start makes another");
      end((heard) => heard.over());
    });
    return child;
  }

  #take(line: string): void {
    const at = line.indexOf(" ");
    const token = line.slice(0, at);
    const said = line.slice(at + 1);
    const heard = this.#heard.get(token)?.heard;
    // Neither is there a recorder (any more), nor will there be another word.
    if (said === "exited" || said.startsWith("busy ")) this.#heard.delete(token);
    if (said === "exited") heard?.over();
    else heard?.line(said);
  }
}
