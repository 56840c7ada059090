import { connect } from "../connect.ts";
import type { CliContext } from "../context.ts";
import type { JobBackend } from "../backend/types.ts";
import { StreamDecoder } from "../format/stream.ts";
import { resolveId } from "../query.ts";
import type { CommandCall } from "../spec.ts";
import type { TextStream } from "../terminal.ts";

interface Request {
  readonly id: string;
  readonly attempt: number | undefined;
  readonly follow: boolean;
  readonly tail: number | undefined;
}

/** `siteagent logs ID`. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  const { options } = call;
  const attempt = options.integer("attempt", 1, 1_000_000);
  const tail = options.integer("tail", 0, 1_000_000_000);
  const which = options.text("stream") ?? "both";
  await using backend = await connect(context, options);
  const id = await resolveId(backend, call.args[0] ?? "");
  const request = { id, attempt: attempt ?? (await latestAttempt(backend, id)), follow: options.flag("follow"), tail };
  const streams = (["stdout", "stderr"] as const).filter((name) => which === "both" || which === name);
  if (request.follow) await Promise.all(streams.map((name) => copy(context, backend, request, name)));
  else for (const name of streams) await copy(context, backend, request, name);
  return 0;
}

/** Undefined before the first attempt: then the log is followed from the start. */
async function latestAttempt(backend: JobBackend, id: string): Promise<number | undefined> {
  const { attempt } = await backend.job(id);
  return attempt > 0 ? attempt : undefined;
}

async function copy(
  context: CliContext,
  backend: JobBackend,
  request: Request,
  stream: "stdout" | "stderr",
): Promise<void> {
  const target = stream === "stdout" ? context.stdout : context.stderr;
  const interactive = stream === "stdout" ? context.out.interactive : context.err.interactive;
  const writer = logWriter(target, interactive);
  const { attempt, tail, follow, id } = request;
  // Following goes on into the next attempt, unless one was asked for: the last attempt is where it begins.
  const source = (offset: number, on: boolean) => backend.logs(id, { stream, attempt, offset, follow: on });
  if (tail === undefined) {
    for await (const { bytes } of source(0, follow)) writer.write(bytes);
  } else {
    const kept: Buffer[] = [];
    let offset = 0;
    for await (const { bytes } of source(0, false)) {
      kept.push(Buffer.from(bytes));
      offset += bytes.length;
      if (kept.length > 8) kept.splice(0, kept.length, lastLines(Buffer.concat(kept), tail));
    }
    writer.write(lastLines(Buffer.concat(kept), tail));
    if (follow) for await (const { bytes } of source(offset, true)) writer.write(bytes);
  }
  writer.end();
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
