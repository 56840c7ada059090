import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { delimiter, join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { temporaryDirectory } from "../../../test/helpers/temporary.ts";

/** A folder with a `python3` that has the peers, before those of PATH. */
export const folderVariable = "SITEAGENT_BENCH_PEERS";

export const peers = { hyperqueue: "HyperQueue", parsl: "Parsl" } as const;
export type PeerName = keyof typeof peers;

const startsWithinMs = 120_000;
const lastWords = 2_000;

/** Another system that runs commands, alive on this machine, driven by `run-NAME.py` beside this file. */
export class Peer implements AsyncDisposable {
  readonly version: string;
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #lines: AsyncIterator<string>;
  readonly #errors: () => string;
  readonly #owned: AsyncDisposableStack;

  private constructor(
    version: string,
    child: ChildProcessByStdio<Writable, Readable, Readable>,
    lines: AsyncIterator<string>,
    errors: () => string,
    owned: AsyncDisposableStack,
  ) {
    this.version = version;
    this.#child = child;
    this.#lines = lines;
    this.#errors = errors;
    this.#owned = owned;
  }

  /** @returns what keeps it from running here, in words, when it is not there */
  static async start(name: PeerName, slots: number): Promise<Peer | string> {
    await using stack = new AsyncDisposableStack();
    const directory = stack.use(await temporaryDirectory("sa-peer-"));
    const folder = process.env[folderVariable];
    const path = [...(folder === undefined ? [] : [folder]), process.env["PATH"] ?? ""].join(delimiter);
    const child = spawn("python3", ["-u", join(import.meta.dirname, `run-${name}.py`), String(slots)], {
      cwd: directory.path,
      env: { ...process.env, PATH: path },
      stdio: ["pipe", "pipe", "pipe"],
      // With workers of its own: a group, so that all of it can be ended.
      detached: true,
    });
    stack.defer(() => endOf(child));
    let text = "";
    child.stderr.setEncoding("utf8").on("data", (more: string) => (text = (text + more).slice(-lastWords)));
    child.stdin.on("error", () => {});
    const lines: Interface = createInterface({ input: child.stdout });
    const iterator = lines[Symbol.asyncIterator]();
    const failed = once(child, "error").then(([error]) => String(error));
    const late = AbortSignal.timeout(startsWithinMs);
    const first = await Promise.race([iterator.next(), failed, once(late, "abort").then(() => "it does not start")]);
    if (typeof first === "string") return first;
    if (first.done === true) return text.trim().split("\n").at(-1) ?? "it ended";
    return new Peer(first.value, child, iterator, () => text, stack.move());
  }

  /** Runs a command so often. @returns seconds until the last has ended. @throws Error when one fails */
  async run(count: number, command: readonly string[]): Promise<number> {
    this.#child.stdin.write(`${count} ${command.join(" ")}\n`);
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error(`the peer ended:\n${this.#errors()}`);
    const seconds = Number(value);
    if (!(seconds > 0)) throw new Error(`the peer says '${value}'`);
    return seconds;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }
}

/** In order when its input ends; what it leaves behind is killed. */
async function endOf(child: ChildProcessByStdio<Writable, Readable, Readable>): Promise<void> {
  const { pid } = child;
  if (pid === undefined) return;
  child.stdout.resume();
  child.stdin.end();
  if (child.exitCode === null && child.signalCode === null) {
    const kill = setTimeout(() => child.kill("SIGKILL"), 30_000);
    await once(child, "exit");
    clearTimeout(kill);
  }
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // Nothing is left of the group.
  }
}
