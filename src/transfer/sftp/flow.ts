/** Bytes of one file over SFTP: many requests under way, each as large as the server takes, into buffers that are used again. */
import type { FileHandle } from "node:fs/promises";
import type { SFTPWrapper } from "ssh2";
import type { CallContext } from "../../common/context.ts";
import { throwIfStopped } from "../errors.ts";
import type { TransferContext } from "../types.ts";
import type { SftpCalls } from "./types.ts";

/** Every server takes requests of this length (draft-ietf-secsh-filexfer-02, section 3). */
const leastRequest = 32_768;
/** Longer ones gain nothing and cost memory. */
const longestRequest = 261_120;
/** Bytes of one file that are asked for, or on their way, at the same time: as many as a channel of SSH has room for, twice. */
const windowBytes = 4 * 1024 * 1024;
/** The same over a line that is lost again and again: what was not acknowledged by then is sent anew. */
const fragileWindowBytes = 2 * leastRequest;

interface Lengths {
  readonly _maxReadLen?: unknown;
  readonly _maxWriteLen?: unknown;
}

/**
 * How long requests to this server may be, as limits@openssh.com says. The library keeps that to itself and would cut a longer
 * request into pieces that wait for each other.
 */
async function lengthOf(calls: SftpCalls, verb: "read" | "write", context: TransferContext): Promise<number> {
  if (context.remote?.fragile === true) return leastRequest;
  const found = await calls.call<number>(context, (sftp, done) => {
    const { _maxReadLen, _maxWriteLen } = sftp as SFTPWrapper & Lengths;
    const length = verb === "read" ? _maxReadLen : _maxWriteLen;
    done(undefined, typeof length === "number" && length > 0 ? length : leastRequest);
  });
  return Math.min(found, longestRequest);
}

/** How many requests of `length` may be under way now: a line that has proven sound meanwhile is used in full again. */
function mostOf({ remote }: TransferContext, length: number): number {
  return Math.max(2, Math.floor((remote?.fragile === true ? fragileWindowBytes : windowBytes) / length));
}

/** A piece of a file that is asked for. */
interface Piece {
  readonly buffer: Buffer;
  /** Bytes that came; fewer than asked for at the end of the file. */
  readonly filled: Promise<number>;
}

/**
 * The bytes of an open file from `offset` to `size`, in order; fewer when it ends sooner. A chunk is valid until the next one
 * is asked for.
 */
export async function* readThrough(
  calls: SftpCalls,
  handle: Buffer,
  range: { readonly offset: number; readonly size: number },
  context: TransferContext,
): AsyncGenerator<Uint8Array> {
  const { offset, size } = range;
  const length = Math.max(1, Math.min(await lengthOf(calls, "read", context), size - offset));
  const pieces: Piece[] = [];
  let next = offset;
  const ask = (buffer: Buffer): void => {
    const filled = fill(calls, handle, buffer, { at: next, length: Math.min(length, size - next) }, context);
    filled.catch(() => undefined); // awaited in order; after a fault nobody does
    pieces.push({ buffer, filled });
    next += length;
  };
  const askMore = (): void => {
    const most = mostOf(context, length);
    while (next < size && pieces.length < most) ask(Buffer.allocUnsafeSlow(Math.min(length, size - next)));
  };
  askMore();
  for (let at = offset; at < size;) {
    const piece = pieces.shift();
    if (!piece) return;
    const filled = await piece.filled;
    throwIfStopped(context.signal);
    if (filled > 0) yield piece.buffer.subarray(0, filled);
    if (filled < Math.min(length, size - at)) return; // cut meanwhile
    at += length;
    if (next < size) ask(piece.buffer);
    askMore();
  }
}

/** Servers may answer with less than was asked for. */
async function fill(
  calls: SftpCalls,
  handle: Buffer,
  buffer: Buffer,
  { at, length }: { readonly at: number; readonly length: number },
  context: CallContext,
): Promise<number> {
  for (let got = 0; got < length;) {
    const count = await calls.call<number>(context, (sftp, done) =>
      sftp.read(handle, buffer, got, length - got, at + got, done),
    );
    if (count === 0) return got;
    got += count;
  }
  return length;
}

/**
 * Writes the bytes of a local file from `offset` to `size`, in order: what a server has of them when the connection is lost is a
 * beginning of the file. Resolves when the server has acknowledged all; rejects with the first request that failed.
 * `onWritten` hears of acknowledged bytes.
 */
export async function writeThrough(
  calls: SftpCalls,
  handle: Buffer,
  source: FileHandle,
  range: { readonly offset: number; readonly size: number; readonly onWritten: (bytes: number) => void },
  context: TransferContext,
): Promise<void> {
  const { offset, size, onWritten } = range;
  const length = Math.max(1, Math.min(await lengthOf(calls, "write", context), size - offset));
  const free: Buffer[] = [];
  const underWay = new Set<Promise<void>>();
  let failed: { readonly error: unknown } | undefined;
  const send = async (buffer: Buffer, at: number, count: number): Promise<void> => {
    try {
      await calls.call<number>(context, (sftp, done) => sftp.write(handle, buffer, 0, count, at, done));
      onWritten(count);
    } catch (error) {
      failed ??= { error };
    }
    free.push(buffer);
  };
  for (let at = offset; at < size && !failed;) {
    throwIfStopped(context.signal);
    if (underWay.size >= mostOf(context, length)) await Promise.race(underWay);
    const buffer = free.pop() ?? Buffer.allocUnsafeSlow(length);
    const count = await readWhole(source, buffer, at, Math.min(length, size - at));
    if (count === 0) break; // cut meanwhile: the length there tells
    await context.remote?.flow(count);
    const sent = send(buffer, at, count).finally(() => underWay.delete(sent));
    underWay.add(sent);
    at += count;
  }
  await Promise.all(underWay);
  if (failed) throw failed.error;
}

/** Into `buffer` from its beginning; fewer bytes where the file ends sooner. */
export async function readWhole(source: FileHandle, buffer: Buffer, position: number, length: number): Promise<number> {
  let got = 0;
  while (got < length) {
    const { bytesRead } = await source.read(buffer, got, length - got, position + got);
    if (bytesRead === 0) break;
    got += bytesRead;
  }
  return got;
}
