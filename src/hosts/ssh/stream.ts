/** A command at the other end whose input and output flow as they are, for programs that talk to each other. */
import type { Duplex } from "node:stream";
import type { ClientChannel } from "ssh2";
import type { CallContext } from "../../common/context.ts";
import { Fault } from "../../common/fault.ts";
import { quoted } from "../../common/nearest.ts";
import { CappedOutput } from "../output.ts";
import { unreachable } from "./faults.ts";
import type { Session, SshLink } from "./link.ts";
import { newKey, shellOpening, shellWord } from "./script.ts";

/** What is kept of standard error, and of what is printed before the command begins. */
const wordsKept = 16_384;
/** How long rc files and the shell may take until the command begins. */
const beginMs = 60_000;

export interface StreamRequest {
  readonly argv: readonly [string, ...string[]];
  /** Absolute, links resolved: nothing runs where it leads elsewhere by now. */
  readonly cwd: string;
  /** The whole environment; its PATH counts for the program. */
  readonly environment: Readonly<Record<string, string>>;
}

/** How a streaming command ended, as the server tells it. */
export interface StreamEnd {
  /** Undefined: by a signal, or the server does not say. */
  readonly exitCode: number | undefined;
  /** Its beginning. */
  readonly stderr: string;
}

export interface RemoteStream extends AsyncDisposable {
  /** Written: standard input. Read: standard output. */
  readonly pipe: Duplex;
  /** Settles when the session is over. @throws Fault UNREACHABLE when the connection was lost, CANCELLED. */
  readonly ended: Promise<StreamEnd>;
}

/**
 * Starts a command whose streams are passed through untouched once it runs; what rc files print before is dropped. Ending the
 * session ends its input and output: the command is expected to end by that, and is killed by nobody.
 * @throws Fault LAUNCH (`details.code`) when its directory is not there, UNREACHABLE as `runRemotely`, CANCELLED.
 */
export async function streamRemotely(
  link: SshLink,
  request: StreamRequest,
  context: CallContext,
): Promise<RemoteStream> {
  const { command, opener } = shellOpening();
  const key = newKey();
  const session = await link.exec(command, context);
  const stream = new Stream(session, key, context);
  try {
    session.channel.write(`${opener}${scriptOf(request, key)}\n`);
    await stream.begun(request);
    return stream;
  } catch (error) {
    await stream[Symbol.asyncDispose]();
    throw error;
  }
}

/** One line; from the frame on the shell is the command. */
function scriptOf({ argv, cwd, environment }: StreamRequest, key: string): string {
  const variables = Object.entries({ LC_ALL: "C", ...environment }).map(([name, value]) => `${name}=${value}`);
  const words = [...variables, ...argv].map(shellWord).join(" ");
  return [
    "n=$(printf '\\012_')",
    "n=${n%_}",
    `say() { printf '\\n${key} %s\\n' "$1"; printf '\\n${key} %s\\n' "$1" >&2; }`,
    `cd -- ${shellWord(cwd)} 2>/dev/null || { say CWD; exit 1; }`,
    `[ "$(pwd -P)" = ${shellWord(cwd)} ] || { say MOVED; exit 1; }`,
    "say begin",
    `exec /usr/bin/env -i ${words}`,
  ].join("; ");
}

class Stream implements RemoteStream {
  readonly pipe: ClientChannel;
  readonly ended: Promise<StreamEnd>;
  readonly #session: Session<ClientChannel>;
  readonly #context: CallContext;
  readonly #begun = Promise.withResolvers<string>();
  readonly #over = Promise.withResolvers<void>();
  readonly #stderr = new CappedOutput(wordsKept);
  readonly #opening: Opened;
  readonly #words: Opened;
  #exitCode: number | undefined;
  #lost: Fault | undefined;

  constructor(session: Session<ClientChannel>, key: string, context: CallContext) {
    this.#session = session;
    this.#context = context;
    const { channel, connection } = session;
    this.pipe = channel;
    const cancel = (): void => {
      this.#lost ??= new Fault("CANCELLED", "ended by request");
      channel.close();
      this.#over.resolve();
    };
    context.signal.addEventListener("abort", cancel, { once: true });
    const forget = connection.onLost((fault) => {
      this.#lost ??= fault;
      this.#over.resolve();
    });
    void this.#over.promise.then(() => {
      forget();
      context.signal.removeEventListener("abort", cancel);
      if (this.#lost) channel.push(null); // the library tells nobody who reads
      session.release();
    });
    channel.on("exit", (code: number | null) => (this.#exitCode = code ?? undefined));
    channel.on("close", () => this.#over.resolve());
    channel.on("error", () => {}); // "close" follows
    this.#opening = readOpening(channel, key, this.#begun.resolve);
    this.#words = new Opened(key, (chunk) => this.#stderr.take(chunk));
    channel.stderr.on("data", (chunk: Buffer) => this.#words.take(chunk));
    this.ended = this.#end();
    this.ended.catch(() => undefined); // whoever gave up before the end does not ask
    if (context.signal.aborted) cancel();
  }

  /** Resolves when the command runs. */
  async begun({ argv, cwd }: StreamRequest): Promise<void> {
    const late = new AbortController();
    const timeout = this.#context.clock.sleep(beginMs, late.signal).then(() => undefined);
    const over = this.ended.then(() => undefined);
    const word = await Promise.race([this.#begun.promise, over, timeout]).finally(() => late.abort());
    if (word === "begin") return;
    if (word !== undefined) {
      const what = word === "CWD" ? "does not exist" : "leads elsewhere by now";
      throw new Fault("LAUNCH", `'${argv[0]}' could not be started: its directory '${cwd}' ${what}`, {
        details: { code: word },
      });
    }
    const noise = [this.#opening.noise, this.#words.noise].filter((text) => text !== "").join(" ");
    const words = noise === "" ? "" : `: it says ${quoted(noise, 300)}`;
    throw unreachable("session", `'${this.#session.connection.label}' runs no commands${words}`, {
      started: "unknown",
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.pipe.resume(); // a session with unread output does not come to its end
    this.pipe.close(); // the server may answer late: it waits for the command
  }

  async #end(): Promise<StreamEnd> {
    await this.#over.promise;
    if (this.#lost) throw this.#lost;
    return { exitCode: this.#exitCode, stderr: this.#stderr.text.trim() };
  }
}

/** Calls back with the word of the opening line and leaves what comes after it unread in the channel. */
function readOpening(channel: ClientChannel, key: string, opened: (word: string) => void): Opened {
  const opening = new Opened(key, (rest) => {
    channel.off("readable", onReadable);
    if (rest.length > 0) channel.unshift(rest);
    opened(opening.word ?? "");
  });
  const onReadable = (): void => {
    while (opening.word === undefined) {
      const chunk = channel.read() as Buffer | null;
      if (chunk === null) return;
      opening.take(chunk);
    }
  };
  // Not by "data": a stream that was made to flow and paused stays so for whoever reads it next.
  channel.on("readable", onReadable);
  return opening;
}

/** Drops what comes before the line `KEY word` and passes on what comes after it. */
class Opened {
  readonly #needle: string;
  readonly #pass: (chunk: Buffer) => void;
  #before = Buffer.alloc(0);
  word: string | undefined;

  constructor(key: string, pass: (chunk: Buffer) => void) {
    this.#needle = `\n${key} `;
    this.#pass = pass;
  }

  get noise(): string {
    const at = this.#before.indexOf(this.#needle);
    return this.#before.toString("utf8", 0, at < 0 ? this.#before.length : at).trim();
  }

  take(chunk: Buffer): void {
    if (this.word !== undefined) {
      this.#pass(chunk);
      return;
    }
    // Its end is enough: the line comes last.
    this.#before = Buffer.concat([this.#before.subarray(-wordsKept), chunk]);
    const at = this.#before.indexOf(this.#needle);
    const end = at < 0 ? -1 : this.#before.indexOf("\n", at + this.#needle.length);
    if (end < 0) return;
    this.word = this.#before.toString("latin1", at + this.#needle.length, end);
    this.#pass(this.#before.subarray(end + 1));
  }
}
