import { Fault } from "../../common/fault.ts";
import { isFinalStatus } from "../../jobs/status.ts";
import { connect } from "../connect.ts";
import type { CliContext } from "../context.ts";
import type { JobBackend, LogChunk, LogRequest } from "../backend/types.ts";
import { StreamDecoder } from "../format/stream.ts";
import { counted } from "../format/text.ts";
import { resolveId } from "../query.ts";
import type { CommandCall } from "../spec.ts";
import type { TextStream } from "../terminal.ts";

interface Request {
  readonly id: string;
  readonly attempt: number | undefined;
  readonly claim: number | undefined;
  readonly follow: boolean;
  readonly tail: number | undefined;
  /** ISO 8601. */
  readonly since: string | undefined;
}

/** `siteagent logs ID`. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  const { options } = call;
  const attempt = options.integer("attempt", 1, 1_000_000);
  const claim = options.integer("claim", 0, 1_000_000_000);
  const tail = options.integer("tail", 0, 1_000_000_000);
  const which = options.text("stream") ?? "both";
  await using backend = await connect(context, options);
  const id = await resolveId(backend, call.args[0] ?? "");
  const since = options.moment("since", context.now());
  const request = { id, attempt, claim, follow: options.flag("follow"), tail, since };
  const streams = (["stdout", "stderr"] as const).filter((name) => which === "both" || which === name);
  let bytes = 0;
  if (request.follow) {
    const copied = await Promise.all(streams.map((name) => copy(context, backend, request, name)));
    bytes = copied.reduce((sum, one) => sum + one, 0);
  } else for (const name of streams) bytes += await copy(context, backend, request, name);
  if (bytes === 0 && request.tail !== 0 && !context.signal.aborted) {
    context.note(since === undefined ? await emptyNote(backend, id, attempt) : `nothing since ${since}`);
  }
  return 0;
}

/** @throws Fault NOT_FOUND when the job has had no such attempt. */
async function emptyNote(backend: JobBackend, id: string, asked: number | undefined): Promise<string> {
  const { attempt, status } = await backend.job(id);
  if (attempt === 0) return `it has not run; why: siteagent explain ${id}`;
  if (asked !== undefined && asked > attempt) {
    throw new Fault("NOT_FOUND", `job '${id}' has had ${counted(attempt, "attempt")}, no attempt ${asked}`);
  }
  if (backend.kind === "local") return "nothing was written";
  const elsewhere = `a site with \`report: minimal\` keeps logs to itself: siteagent logs ${id} --local, on its machine`;
  return isFinalStatus(status)
    ? `nothing here: it wrote nothing, or ${elsewhere}`
    : `nothing here yet: logs come every few seconds, and ${elsewhere}`;
}

/** Gives the number of bytes that the log has (of what was looked at). */
async function copy(
  context: CliContext,
  backend: JobBackend,
  request: Request,
  stream: "stdout" | "stderr",
): Promise<number> {
  const target = stream === "stdout" ? context.stdout : context.stderr;
  const interactive = stream === "stdout" ? context.out.interactive : context.err.interactive;
  const writer = logWriter(target, interactive);
  const { attempt, claim, tail, follow, id, since } = request;
  // Without an attempt it begins with the last one, and following goes on into the next.
  let place: Pick<LogRequest, "start" | "offset" | "since"> = { offset: 0, since };
  let count = 0;
  const pass = async (on: boolean, take: (bytes: Uint8Array) => void): Promise<void> => {
    for await (const chunk of backend.logs(id, { stream, attempt, claim, ...place, follow: on })) {
      if (count === 0 && stream === "stdout") noteEarlier(context, chunk);
      count += chunk.bytes.length;
      take(chunk.bytes);
      // What is read next goes on behind this, also when a new attempt has begun meanwhile.
      place = { start: chunk.attempt, offset: chunk.offset + chunk.bytes.length };
    }
  };
  if (tail !== undefined) {
    const kept: Buffer[] = [];
    await pass(false, (bytes) => {
      kept.push(Buffer.from(bytes));
      if (kept.length > 8) kept.splice(0, kept.length, lastLines(Buffer.concat(kept), tail));
    });
    writer.write(lastLines(Buffer.concat(kept), tail));
  }
  if (tail === undefined || follow) await pass(follow, (bytes) => writer.write(bytes));
  writer.end();
  return count;
}

/** Nobody guesses that there are more logs than this one. */
function noteEarlier(context: CliContext, { claim, claims = [] }: LogChunk): void {
  const earlier = claim === undefined ? [] : claims.filter((one) => one < claim);
  if (earlier.length > 0) context.note(`holders that gave the job back wrote logs, too: --claim ${earlier.join(", ")}`);
}

/** The last `count` lines of some bytes. */
export function lastLines(bytes: Buffer, count: number): Buffer {
  if (count === 0) return Buffer.alloc(0);
  let at = bytes.length - 1; // a line end at the very end closes the last line
  for (let found = 0; at > 0; at--) {
    if (bytes[at - 1] === 0x0a && ++found === count) return bytes.subarray(at);
  }
  return bytes;
}

/** On a terminal control sequences are escaped; elsewhere the bytes go through as they are. */
function logWriter(target: TextStream, interactive: boolean): { write(bytes: Uint8Array): void; end(): void } {
  if (!interactive) return { write: (bytes) => void target.write(bytes), end: () => {} };
  const decoder = new StreamDecoder();
  return {
    write: (bytes) => void target.write(decoder.decode(bytes)),
    end: () => void target.write(decoder.end()),
  };
}
