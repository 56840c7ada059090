/** Runs this machine's rsync, whose other end is an rsync at a remote, by a stream of the hosts' SSH layer. */
import { type ChildProcess, spawn } from "node:child_process";
import type { Socket } from "node:net";
import { createInterface } from "node:readline";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import { errnoOf, Fault } from "../../common/fault.ts";
import { throwIfStopped } from "../errors.ts";
import type { RunningCommand, SftpAccess } from "../sftp/types.ts";
import type { TransferContext } from "../types.ts";
import { notHere, type RsyncEnd } from "./faults.ts";

/** Where rsync is looked for at a remote: what a site has installed goes before what came with its system. */
export const remotePath = "/usr/local/bin:/opt/homebrew/bin:/usr/bin:/bin";
/** Of what rsync says. */
const wordsKept = 16_384;
/** Between TERM, at which rsync keeps what has come of a file, and KILL. */
const graceMs = 10_000;
/** How long the other end may take to say how it ended, once this one has. */
const remoteEndMs = 5_000;

/**
 * Stands where rsync expects ssh: tells the remote's command on descriptor 3, which leads to us, and then passes all bytes. The
 * descriptor is inherited: there is no name or secret by which another process could join in, and it ends with us.
 */
const shellScript = [
  'printf "%s\\0" "$#" "$@" >&3 || exit',
  "exec 4<&0 </dev/null",
  "cat <&4 >&3 4<&- & exec 4<&-",
  "cat <&3",
  "kill $!",
].join("; ");
/** Leader of the process group; removes what rsync read from when that has ended, also if we have not lived to see it. */
const leaderScript = '"$@"; c=$?; [ -z "$0" ] || rm -rf -- "$0"; exit "$c"';

export interface RsyncRun {
  /** Options, then source and destination; `there:.` is the directory at the remote. */
  readonly args: readonly string[];
  /** Directory on this machine. */
  readonly here: string;
  /** Directory at the remote, absolute, links resolved. */
  readonly there: string;
  /** Relative to both. */
  readonly names: readonly string[];
  /** A directory that is removed at the end. */
  readonly scratch?: string;
  /** Hears of each file that rsync is done with, as far as it knows; in order. */
  readonly onName: (name: string) => void;
}

/**
 * Runs rsync to its end, whatever that is. When the signal aborts it is asked to end, and keeps what has come of a file.
 * @throws Fault UNSUPPORTED where there is no rsync, UNREACHABLE when the connection was lost, CANCELLED.
 */
export async function runRsync(access: SftpAccess, run: RsyncRun, context: TransferContext): Promise<RsyncEnd> {
  throwIfStopped(context.signal);
  const child = await start(run);
  const ended = new Promise<number | undefined>((resolve) => child.once("close", (code) => resolve(code ?? undefined)));
  const over = new AbortController();
  const stop = (): void => {
    signalGroup(child, "SIGTERM");
    void context.clock.sleep(graceMs, over.signal).then(() => over.signal.aborted || signalGroup(child, "SIGKILL"));
  };
  context.signal.addEventListener("abort", stop, { once: true });
  if (context.signal.aborted) stop();
  const words = collectWords(child, run.onName);
  const tunnel = new Tunnel(child, access, run.there, stop, context);
  try {
    const exitCode = await ended;
    over.abort();
    throwIfStopped(context.signal);
    const remote = await tunnel.result();
    return { exitCode, words: words(), remote, label: access.label };
  } finally {
    over.abort();
    context.signal.removeEventListener("abort", stop);
    await tunnel[Symbol.asyncDispose]();
  }
}

async function start({ args, here, names, scratch = "" }: RsyncRun): Promise<ChildProcess> {
  // `cat` is no ssh: it wants to wait when it writes.
  const options = ["-e", `/bin/sh -c '${shellScript}' rsync`, "--blocking-io", "--from0", "--files-from=-"];
  const child = spawn("/bin/sh", ["-c", leaderScript, scratch, "rsync", ...options, ...args], {
    cwd: here,
    // Neither its own variables nor aliases of its option parser in the home directory.
    env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin", HOME: "/nonexistent", LC_ALL: "C" },
    stdio: ["pipe", "pipe", "pipe", "pipe"],
    detached: true,
  });
  await new Promise<void>((done, fail) => {
    child.once("spawn", done);
    child.once("error", (error) => fail(startFault(error)));
  });
  child.on("error", () => {}); // a failed kill
  child.stdin?.on("error", () => {}); // it may end before it has read all
  child.stdin?.end(names.map((name) => `${plainStart(name)}\0`).join(""));
  return child;
}

/** What begins with `#` or `;` would be a comment where rsync reads the list for itself, also of names that end with NUL. */
function plainStart(name: string): string {
  return /^[#;]/.test(name) ? `./${name}` : name;
}

function startFault(error: unknown): Fault {
  return new Fault("TRANSFER", `rsync could not be started: ${errnoOf(error) ?? String(error)}`, { cause: error });
}

function signalGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (pid !== undefined) process.kill(-pid, signal);
  } catch (error) {
    if (errnoOf(error) !== "ESRCH") throw error;
  }
}

/** `FLAGS NAME` for each file; everything else is something that rsync has to say. */
function collectWords(child: ChildProcess, onName: (name: string) => void): () => string {
  let words = "";
  const say = (line: string): void => {
    if (line !== "" && words.length < wordsKept) words += `${line}\n`;
  };
  for (const stream of [child.stdout, child.stderr]) {
    if (!stream) continue;
    createInterface({ input: stream.setEncoding("latin1") }).on("line", (line) => {
      const name = stream === child.stdout ? /^[<>]f\S* (.+)$/.exec(line)?.[1] : undefined;
      if (name === undefined) say(line.slice(0, wordsKept));
      else onName(plainName(name));
    });
  }
  return () => words;
}

/** rsync writes every byte that its locale cannot print, and a backslash that could be mistaken, as `\#` and three octal digits. */
export function plainName(shown: string): string {
  const bytes = shown.replace(/\\#([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
  return Buffer.from(bytes, "latin1").toString("utf8");
}

/**
 * The command for the remote, as rsync wants it of its remote shell: host, then words. Nothing but its own server is started there;
 * names and paths do not stand in it (they come by the protocol). Undefined: it is something else.
 */
export function serverCommand(words: readonly string[]): readonly [string, ...string[]] | undefined {
  const [, program, server, ...rest] = words;
  if (program !== "rsync" || server !== "--server") return undefined;
  const flags = rest[0] === "--sender" ? rest.slice(1) : rest;
  const isProtected = /^-s[A-Za-z]*(e[\d.]*[A-Za-z]*)?$/.test(flags[0] ?? "");
  return isProtected && flags.length === 1 ? [program, server, ...rest] : undefined;
}

/** Between descriptor 3 of the local rsync and the one at the remote. */
class Tunnel implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #context: TransferContext;
  #stream: RunningCommand | undefined;
  #fault: unknown;
  readonly #joined: Promise<void>;

  constructor(child: ChildProcess, access: SftpAccess, there: string, stop: () => void, context: TransferContext) {
    this.#child = child;
    this.#context = context;
    const near = child.stdio[3] as Socket;
    near.on("error", () => {}); // the process has ended: that is told otherwise
    this.#joined = this.#join(near, access, there).catch((error: unknown) => {
      this.#fault = error;
      near.destroy();
      stop();
    });
  }

  /** How the other end has ended, as far as it can be known. @throws Fault of the way there */
  async result(): Promise<RsyncEnd["remote"]> {
    await this.#joined;
    if (this.#fault !== undefined) throw this.#fault;
    if (!this.#stream) return undefined;
    const late = new AbortController();
    const timeout = this.#context.clock.sleep(remoteEndMs, late.signal).then(() => undefined);
    return await Promise.race([this.#stream.ended, timeout]).finally(() => late.abort());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    (this.#child.stdio[3] as Socket).destroy();
    await this.#joined;
    await this.#stream?.[Symbol.asyncDispose]();
  }

  async #join(near: Socket, access: SftpAccess, there: string): Promise<void> {
    const words = await readWords(near);
    if (!words) return; // rsync had nothing to ask for
    const argv = serverCommand(words);
    if (!argv) throw notHere(`it asks for ${words.join(" ").slice(0, 200)}, which is not what is allowed`);
    const environment = { PATH: remotePath };
    const stream = await access.stream({ argv, cwd: there, environment }, this.#context);
    this.#stream = stream;
    stream.pipe.on("error", () => {}); // `ended` tells
    for (const [from, to] of [
      [near, stream.pipe],
      [stream.pipe, near],
    ] as const) {
      void pass(from, to, this.#context).catch(() => stream.pipe.resume()); // one of them has ended: both are told
    }
  }
}

/** At the rate that the remote's bandwidth allows. */
async function pass(from: Duplex, to: Duplex, { remote, signal }: TransferContext): Promise<void> {
  const slowed = async function* (chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      throwIfStopped(signal); // the library's channels go on when they are destroyed
      await remote?.flow(chunk.length);
      yield chunk;
    }
  };
  await pipeline(from, slowed, to, { signal });
}

/** Number of words, then the words, each ended by NUL; what follows stays unread. Undefined: the process ended before. */
async function readWords(socket: Socket): Promise<readonly string[] | undefined> {
  const { promise, resolve } = Promise.withResolvers<readonly string[] | undefined>();
  let bytes = Buffer.alloc(0);
  const onReadable = (): void => {
    for (let chunk = socket.read() as Buffer | null; chunk !== null; chunk = socket.read() as Buffer | null) {
      bytes = Buffer.concat([bytes, chunk]);
      const found = parseWords(bytes);
      if (!found) continue;
      socket.off("readable", onReadable);
      if (found.rest.length > 0) socket.unshift(found.rest);
      resolve(found.words);
      return;
    }
  };
  socket.on("readable", onReadable);
  socket.once("close", () => resolve(undefined));
  return await promise;
}

function parseWords(bytes: Buffer): { readonly words: readonly string[]; readonly rest: Buffer } | undefined {
  const ends: number[] = [];
  const next = (): number => bytes.indexOf(0, (ends.at(-1) ?? -1) + 1);
  for (let at = next(); at >= 0; at = next()) {
    ends.push(at);
    const count = Number(bytes.toString("latin1", 0, ends[0]));
    if (ends.length <= count) continue;
    const words = ends.slice(1).map((end, index) => bytes.toString("utf8", (ends[index] ?? 0) + 1, end));
    return { words, rest: bytes.subarray(at + 1) };
  }
  return undefined;
}
