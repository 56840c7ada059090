/** A file as the parts in which it goes up. */
import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { Fault } from "../../common/fault.ts";
import { throwIfStopped } from "../errors.ts";
import type { TransferContext } from "../types.ts";

/** "Amazon S3 multipart upload limits" of the user guide. */
const mostParts = 10_000;
const mebibyte = 1024 ** 2;
const pieceBytes = 256 * 1024;

export interface Part {
  /** From 1. */
  readonly number: number;
  readonly first: number;
  readonly bytes: number;
}

/** The same for the same file and settings each time: parts that an earlier run sent are found again. */
export function partsOf(bytes: number, partBytes: number): readonly Part[] {
  const least = Math.ceil(bytes / mostParts / mebibyte) * mebibyte;
  const size = Math.max(partBytes, least);
  return Array.from({ length: Math.ceil(bytes / size) }, (_, index) => ({
    number: index + 1,
    first: index * size,
    bytes: Math.min(size, bytes - index * size),
  }));
}

/** Lower-case hexadecimal. */
export interface PartDigest {
  readonly sha256: string;
  readonly md5: string | undefined;
}

/** Digests of a stretch of an open file; MD5 where it is asked for. @throws Fault TRANSFER when the file is shorter by now. */
export async function digestRange(
  handle: FileHandle,
  part: Pick<Part, "first" | "bytes">,
  withMd5: boolean,
  signal: AbortSignal,
): Promise<PartDigest> {
  const sha256 = createHash("sha256");
  const md5 = withMd5 ? createHash("md5") : undefined;
  let bytes = 0;
  for await (const piece of readRange(handle, part, signal)) {
    sha256.update(piece);
    md5?.update(piece);
    bytes += piece.byteLength;
  }
  if (bytes !== part.bytes) {
    throw new Fault("TRANSFER", `the file has become shorter while it was sent`, { details: { source_changed: true } });
  }
  return { sha256: sha256.digest("hex"), md5: md5?.digest("hex") };
}

/** The bytes of a stretch of an open file, each piece in a buffer of its own: a request keeps what it read. */
async function* readRange(
  handle: FileHandle,
  { first, bytes }: Pick<Part, "first" | "bytes">,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  for (let done = 0; done < bytes;) {
    throwIfStopped(signal);
    const buffer = Buffer.allocUnsafe(Math.min(pieceBytes, bytes - done));
    const { bytesRead } = await handle.read(buffer, 0, buffer.byteLength, first + done);
    if (bytesRead === 0) return;
    done += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/** The same for the wire, at the speed that the remote's bandwidth allows. */
export async function* sentRange(
  handle: FileHandle,
  part: Pick<Part, "first" | "bytes">,
  context: TransferContext,
): AsyncGenerator<Uint8Array> {
  for await (const piece of readRange(handle, part, context.signal)) {
    await context.remote?.flow(piece.byteLength);
    yield piece;
  }
}

export function base64Of(hex: string): string {
  return Buffer.from(hex, "hex").toString("base64");
}
