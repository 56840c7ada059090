/**
 * Unpacks the archive of an app before its command runs; part of the attempt, so that its limits hold for it. `node unpack.ts ORDER`: an
 * `UnpackOrder` as JSON. Exit code 0: all of it is at its place. Anything else: the reason on stderr, and the command is not run.
 */
import { createHash } from "node:crypto";
import { type FileHandle, mkdir, open, rename } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { crc32, createInflateRaw } from "node:zlib";
import { errnoOf, messageOf } from "../common/fault.ts";
import { removeTree } from "../common/files.ts";
import { readZipDirectory, type ZipEntry, ZipError } from "./zip-directory.ts";

const chunkBytes = 256 * 1024;

export interface UnpackOrder {
  /** Absolute. */
  readonly archive: string;
  /** Absolute; what is there is replaced. Its parent exists. */
  readonly into: string;
  /** Of all files together. */
  readonly maxBytes: number;
  /** Of the archive. */
  readonly sha256?: string | undefined;
}

/** @throws ZipError, or the error of a file system. */
export async function unpack({ archive, into, maxBytes, sha256 }: UnpackOrder): Promise<void> {
  await using file = await open(archive, "r");
  if (!(await file.stat()).isFile()) throw new ZipError("it is no file");
  if (sha256 !== undefined) await checkDigest(file, sha256);
  const entries = await readZipDirectory(file, { maxBytes });
  // Nothing that an attempt left may stand in the way of the next: neither what is there nor a half-unpacked one.
  const fresh = `${into}.unpacking`;
  for (const place of [fresh, into]) await removeTree(place);
  await mkdir(fresh);
  for (const entry of entries) await unpackEntry(file, entry, fresh);
  await rename(fresh, into);
}

/** Directories are ours alone and new, there are no links in them: no name leads elsewhere. */
async function unpackEntry(file: FileHandle, entry: ZipEntry, root: string): Promise<void> {
  const path = join(root, entry.name);
  await mkdir(entry.kind === "directory" ? path : dirname(path), { recursive: true });
  if (entry.kind === "directory") return;
  await using target = await open(path, "wx", entry.executable ? 0o777 : 0o666);
  let bytes = 0;
  let sum = 0;
  const write = async (chunks: AsyncIterable<Buffer>): Promise<void> => {
    for await (const chunk of chunks) {
      bytes += chunk.length;
      sum = crc32(chunk, sum);
      // What it says of its size was counted; more is never written.
      if (bytes > entry.bytes) throw new ZipError(`'${entry.name}' is larger than it says`);
      await target.appendFile(chunk);
    }
  };
  const stored = chunksOf(file, entry.dataAt, entry.storedBytes);
  if (entry.deflated) {
    await pipeline(stored, createInflateRaw(), write).catch((error: unknown) => {
      const damaged = errnoOf(error)?.startsWith("Z_") === true;
      throw damaged ? new ZipError(`'${entry.name}' is damaged`) : error;
    });
  } else {
    await write(stored);
  }
  if (bytes !== entry.bytes || sum !== entry.crc32) throw new ZipError(`'${entry.name}' is damaged`);
}

async function* chunksOf(file: FileHandle, from: number, length: number): AsyncGenerator<Buffer> {
  for (let at = from; at < from + length;) {
    const buffer = Buffer.alloc(Math.min(chunkBytes, from + length - at));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) throw new ZipError("it ends too early");
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

async function checkDigest(file: FileHandle, sha256: string): Promise<void> {
  const hash = createHash("sha256");
  for await (const chunk of chunksOf(file, 0, (await file.stat()).size)) hash.update(chunk);
  const found = hash.digest("hex");
  if (found !== sha256) throw new ZipError(`its digest is ${found}, not ${sha256}`);
}

async function main([text = "{}"]: readonly string[]): Promise<void> {
  const order = JSON.parse(text) as UnpackOrder;
  try {
    await unpack(order);
  } catch (error) {
    const why = messageOf(error);
    process.stderr.write(`siteagent: the archive '${order.archive}' cannot be unpacked: ${why}\n`);
    process.exitCode = 1;
  }
}

if (import.meta.main) await main(process.argv.slice(2));
