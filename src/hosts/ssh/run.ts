import type { ClientChannel } from "ssh2";
import type { CallContext } from "../../common/context.ts";
import { Fault } from "../../common/fault.ts";
import { quoted } from "../../common/nearest.ts";
import { CappedOutput } from "../output.ts";
import type { RunRequest, RunResult } from "../types.ts";
import { unreachable } from "./faults.ts";
import { type Frame, FrameReader } from "./frames.ts";
import type { Session, SshLink } from "./link.ts";
import { killGroup, largestArgumentBytes, remoteCall } from "./script.ts";

/** Between TERM and KILL when a command has run out of time. */
const graceMs = 2_000;
/** How long the other end may take to say that it has ended a command, before it is killed by a session of its own. */
const answerMs = 5_000;
/** The same for one that was cancelled. */
const cancelMs = 2_000;
/** How long the server may take to close a session in which nothing is left to do. */
const closingMs = 2_000;
/** Of that killing. */
const killTimeoutMs = 3_000;

/** What became of a command, as far as the other end has said it. */
interface Answer {
  begun: Extract<Frame, { kind: "begin" }> | undefined;
  none: Extract<Frame, { kind: "none" }> | undefined;
  end: Extract<Frame, { kind: "end" }> | undefined;
  /** Frames of the end that stdout and stderr have shown. */
  ends: number;
  /** The server has closed the session by itself, after all that was printed in it. */
  closed: boolean;
  /** It was to be ended before it said that it has. */
  cancelled: boolean;
}

/**
 * Runs a command at the other end; see script.ts for how.
 * @throws Fault LAUNCH when it could not be started there, CANCELLED when the context aborted, UNREACHABLE when the host could not be asked
 * or did not answer: `details.started` is "no" when certainly nothing ran, else "unknown".
 */
export async function runRemotely(link: SshLink, request: RunRequest, context: CallContext): Promise<RunResult> {
  refuseTooLarge(request);
  const call = remoteCall(request, graceMs);
  const session = await link.exec(call.command, context);
  const stdout = new CappedOutput(request.maxOutputBytes);
  const stderr = new CappedOutput(request.maxOutputBytes);
  const answer: Answer = {
    begun: undefined,
    none: undefined,
    end: undefined,
    ends: 0,
    closed: false,
    cancelled: false,
  };
  const over = new AbortController();
  const onFrame = (frame: Frame): void => {
    if (frame.kind === "begin") answer.begun = frame;
    else if (frame.kind === "none") answer.none = frame;
    else answer.end = frame;
    if (frame.kind !== "begin" && ++answer.ends === 2) over.abort();
  };
  const readers = [new FrameReader(call.key, stdout, onFrame), new FrameReader(call.key, stderr, onFrame)] as const;
  const { channel } = session;
  const closed = new AbortController();
  const onClose = (): void => {
    answer.closed = !over.signal.aborted && session.connection.alive;
    over.abort();
    closed.abort();
    forget();
    session.release();
  };
  const forget = session.connection.onLost(onClose);
  channel.on("close", onClose);
  channel.on("error", () => {}); // "close" follows
  channel.on("data", (chunk: Buffer) => readers[0].take(chunk));
  channel.stderr.on("data", (chunk: Buffer) => readers[1].take(chunk));
  channel.write(call.preamble + (request.stdin ?? ""));
  try {
    await untilOver(link, session, answer, over.signal, request, context);
  } finally {
    over.abort();
    if (answer.ends < 2) channel.close();
    else closeSoon(channel, closed.signal, context);
  }
  const noise = readers.map((reader) => reader.noise).filter((text) => text !== "");
  const { exitCode, signal, timedOut } = outcome(session, answer, noise, request);
  const truncated = stdout.truncated || stderr.truncated;
  return { exitCode, signal, stdout: stdout.text, stderr: stderr.text, truncated, timedOut };
}

/** The server closes a session when its process is gone; closed by us before, it would go on counting there for a while. */
function closeSoon(channel: ClientChannel, closed: AbortSignal, { clock }: CallContext): void {
  channel.end();
  void clock.sleep(closingMs, closed).then(() => closed.aborted || channel.close());
}

/** Until both streams have shown the end, or the channel is closed, or nothing more is to be expected. */
async function untilOver(
  link: SshLink,
  { channel }: Session<ClientChannel>,
  answer: Answer,
  over: AbortSignal,
  request: RunRequest,
  context: CallContext,
): Promise<void> {
  const { clock, signal } = context;
  const late = new AbortController();
  const cancel = (): void => {
    answer.cancelled = true;
    channel.signal("TERM"); // the script then kills the group (servers since OpenSSH 7.9 pass it on),
    channel.end(); // and when its input ends, once the command has taken what it was given
    void clock.sleep(cancelMs, over).then(() => late.abort());
  };
  signal.addEventListener("abort", cancel, { once: true });
  if (signal.aborted) cancel();
  void clock.sleep(request.timeoutMs + graceMs + answerMs, over).then(() => late.abort());
  const done = Promise.withResolvers<void>();
  for (const one of [over, late.signal]) one.addEventListener("abort", () => done.resolve(), { once: true });
  if (over.aborted) done.resolve();
  await done.promise;
  signal.removeEventListener("abort", cancel);
  if (!over.aborted && answer.begun) await killByForce(link, answer.begun.group, context);
}

/** A new session, because the old one does not react. Fails silently: nothing is claimed of a command that did not answer. */
async function killByForce(link: SshLink, group: number, { log, clock }: CallContext): Promise<void> {
  const argv = killGroup(group);
  const signal = AbortSignal.timeout(2 * killTimeoutMs);
  const request = { argv, cwd: "/", environment: {}, timeoutMs: killTimeoutMs, maxOutputBytes: 1_000 };
  try {
    await runRemotely(link, request, { log, clock, signal });
  } catch (error) {
    log.warn({ err: error, group }, "a process group at the other end could not be killed");
  }
}

interface Outcome {
  readonly exitCode: number | undefined;
  readonly signal: string | undefined;
  readonly timedOut: boolean;
}

function outcome(
  { connection }: Session<ClientChannel>,
  { begun, none, end, closed, cancelled }: Answer,
  noise: readonly string[],
  request: RunRequest,
): Outcome {
  if (none) throw notStarted(none.why, request, connection.label);
  // Killed by a session of its own, it is to the script a command that ended by itself.
  const killed = end?.order === "cut" || (cancelled && end?.order === "none" && end.code === 137);
  if (end && !killed) return ended(end);
  if (cancelled) throw new Fault("CANCELLED", `'${request.argv[0]}' was ended by request`);
  if (connection.lost) throw connection.lost;
  if (begun) {
    throw unreachable("session", `'${connection.label}' did not say how '${request.argv[0]}' ended`, {
      started: "unknown",
    });
  }
  const words = noise.length === 0 ? "" : `: it says ${quoted(noise.join(" "), 300)}`;
  throw unreachable("session", `'${connection.label}' runs no commands${words}`, {
    started: closed ? "no" : "unknown",
    hint: "the account needs a shell that reads commands, and rc files that neither end it nor read its input; a server for files alone cannot be used for jobs",
  });
}

/** A shell tells a signal as 128 + its number, and a command may exit with the same: it is called a signal only if it was ours. */
function ended({ code, order }: Extract<Frame, { kind: "end" }>): Outcome {
  const timedOut = order !== "none";
  const ours = timedOut ? { 137: "SIGKILL", 143: "SIGTERM" }[code] : undefined;
  return { exitCode: ours === undefined ? code : undefined, signal: ours, timedOut };
}

function notStarted(why: string, request: RunRequest, label: string): Fault {
  const [program] = request.argv;
  const path = request.environment["PATH"] ?? "";
  switch (why) {
    case "CWD":
      return new Fault("LAUNCH", `'${program}' could not be started: its directory '${request.cwd}' does not exist`);
    case "TOOLS":
      return new Fault("UNSUPPORTED", `'${label}' lacks setsid, sleep, head or env, which commands are run with`, {
        hint: "install coreutils and util-linux there",
      });
    default: {
      const hint =
        why === "ENOENT" && !program.includes("/") ? `'${program}' is in no directory of PATH '${path}'` : undefined;
      return new Fault("LAUNCH", `'${program}' could not be started: ${why}`, {
        ...(hint === undefined ? {} : { hint }),
        details: { code: why },
      });
    }
  }
}

/** What no Linux takes, said before anything is sent. */
function refuseTooLarge({ argv, environment }: RunRequest): void {
  const [program] = argv;
  const texts = [...argv, ...Object.entries(environment).map(([name, value]) => `${name}=${value}`)];
  if (texts.some((text) => text.includes("\0")))
    throw new Fault("LAUNCH", `${quoted(program)} could not be started: ERR_INVALID_ARG_VALUE, an argument holds NUL`);
  if (texts.some((text) => Buffer.byteLength(text) >= largestArgumentBytes))
    throw new Fault("LAUNCH", `'${program}' could not be started: E2BIG`, { details: { code: "E2BIG" } });
}
