import { createHash, type Hash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { failpoint } from "../common/failpoint.ts";
import { throwIfStopped } from "./errors.ts";
import type { OpenDirectory } from "./paths.ts";

const pieceBytes = 512 * 1024;

/**
 * A partial file that becomes a file at its final name only when `commit` is called. Its digest is computed along the way; the
 * digest of what an earlier run left is recomputed from the disk, never believed.
 */
export class Landing implements AsyncDisposable {
  readonly #directory: OpenDirectory;
  readonly #name: string;
  readonly #handle: FileHandle;
  readonly #hash: Hash = createHash("sha256");
  #bytes = 0;

  private constructor(directory: OpenDirectory, name: string, handle: FileHandle) {
    this.#directory = directory;
    this.#name = name;
    this.#handle = handle;
  }

  /**
   * Opens (or makes) partial file `name`. What lies in it is kept when `resume` is true and it is not longer than
   * `longestBytes`; otherwise it is emptied.
   */
  static async open(
    directory: OpenDirectory,
    name: string,
    options: { readonly resume: boolean; readonly longestBytes: number; readonly signal: AbortSignal },
  ): Promise<Landing> {
    await failpoint("transfer.before-part");
    const landing = new Landing(directory, name, await openPart(directory.at(name)));
    await failpoint("transfer.after-part");
    try {
      const { size } = await landing.#handle.stat();
      if (size === 0) return landing;
      if (options.resume && size <= options.longestBytes) await landing.#takeUp(size, options.signal);
      else await landing.#handle.truncate(0);
      return landing;
    } catch (error) {
      await landing[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Bytes in it; where reading the source goes on. */
  get bytes(): number {
    return this.#bytes;
  }

  async append(chunk: Uint8Array): Promise<void> {
    for (let done = 0; done < chunk.byteLength;) {
      const { bytesWritten } = await this.#handle.write(chunk, done, chunk.byteLength - done, this.#bytes + done);
      done += bytesWritten;
    }
    this.#hash.update(chunk);
    this.#bytes += chunk.byteLength;
    await failpoint("transfer.after-append");
  }

  /** Lower-case hexadecimal SHA-256 of all bytes so far. */
  digest(): string {
    return this.#hash.copy().digest("hex");
  }

  /** Makes it durable and gives it its final name, replacing a file of that name. Returns its modification time. */
  async commit(finalName: string): Promise<number> {
    await this.#handle.sync();
    const { size, mtimeMs } = await this.#handle.stat();
    if (size !== this.#bytes) throw new Error(`'${finalName}' has ${size} bytes after ${this.#bytes} were written`);
    await failpoint("transfer.before-rename");
    await rename(this.#directory.at(this.#name), this.#directory.at(finalName));
    await failpoint("transfer.after-rename");
    await this.#directory.sync();
    await failpoint("transfer.after-directory-sync");
    return mtimeMs;
  }

  async discard(): Promise<void> {
    await rm(this.#directory.at(this.#name), { force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }

  async #takeUp(size: number, signal: AbortSignal): Promise<void> {
    for await (const piece of readPieces(this.#handle, 0, signal)) this.#hash.update(piece);
    this.#bytes = size;
  }
}

async function openPart(path: string): Promise<FileHandle> {
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const handle = await openOrReplace(path, flags);
  const stats = await handle.stat();
  if (stats.isFile() && stats.nlink === 1) return handle;
  await handle.close(); // a fifo, or a hard link whose other name must not be written to
  await rm(path, { force: true });
  return open(path, flags | constants.O_EXCL, 0o644);
}

async function openOrReplace(path: string, flags: number): Promise<FileHandle> {
  try {
    return await open(path, flags, 0o644);
  } catch {
    await rm(path, { force: true, recursive: true }); // a link or directory where only we write
    return open(path, flags | constants.O_EXCL, 0o644);
  }
}

/** Buffers that wait for the next file: fresh ones for each of many small files keep the garbage collector busy. */
const spareBuffers: Buffer[] = [];
const mostSpareBuffers = 8;

/**
 * The bytes of an open file from `offset` to its end. A piece is valid until the next one is asked for; who keeps pieces
 * copies them. Throws CANCELLED when the signal aborts.
 */
export async function* readPieces(handle: FileHandle, offset: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const buffer = spareBuffers.pop() ?? Buffer.allocUnsafeSlow(pieceBytes);
  try {
    for (let position = offset; ;) {
      throwIfStopped(signal);
      const { bytesRead } = await handle.read(buffer, 0, pieceBytes, position);
      if (bytesRead === 0) return;
      position += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    if (spareBuffers.length < mostSpareBuffers) spareBuffers.push(buffer);
  }
}

/** Bytes and lower-case hexadecimal SHA-256 of an open file. */
export async function digestOf(handle: FileHandle, signal: AbortSignal): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const piece of readPieces(handle, 0, signal)) {
    hash.update(piece);
    bytes += piece.byteLength;
  }
  return { bytes, sha256: hash.digest("hex") };
}
