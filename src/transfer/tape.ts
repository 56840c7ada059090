/** Rows that may be too many for memory: written one after the other to a file without a name, and read back in parts. */
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, mkdir, open, unlink } from "node:fs/promises";
import { join } from "node:path";

/** Of rows that wait to be written. Bytes. */
const pieceBytes = 64 * 1024;
/** Of one reading: a hundred runs are read at the same time. */
const readBytes = 16 * 1024;
const lineEnd = 0x0a;

/** Rows of a tape that were written one after the other, from one mark to another. */
export interface Stretch {
  readonly begin: number;
  readonly end: number;
}

/**
 * Plain JSON values in the order in which they are added. Some 64 KiB stay in memory; more go to a file of `directory` (made if need be)
 * that has lost its name as soon as it is open, so that nothing of it is left however the process ends.
 */
export class Tape<Row> implements AsyncDisposable {
  readonly #directory: string;
  #file: FileHandle | undefined;
  /** Bytes in the file. */
  #written = 0;
  #lines: string[] = [];
  #waiting = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Where the next row will lie. */
  get mark(): number {
    return this.#written + this.#waiting;
  }

  async add(row: Row): Promise<void> {
    const line = `${JSON.stringify(row)}\n`;
    this.#lines.push(line);
    this.#waiting += Buffer.byteLength(line);
    if (this.#waiting >= pieceBytes) await this.#flush();
  }

  /** The rows between two marks; more may be added meanwhile. */
  async *read({ begin, end }: Stretch): AsyncGenerator<Row> {
    let at = begin;
    let rest: Buffer = Buffer.alloc(0);
    while (at < end) {
      const piece = await this.#piece(at, end);
      at += piece.length;
      const text = Buffer.concat([rest, piece]);
      const cut = text.lastIndexOf(lineEnd) + 1;
      rest = text.subarray(cut);
      for (const line of text.toString("utf8", 0, cut).split("\n")) if (line !== "") yield JSON.parse(line) as Row;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
  }

  async #piece(at: number, end: number): Promise<Buffer> {
    const most = Math.min(end - at, readBytes);
    if (at >= this.#written) {
      const from = at - this.#written;
      return Buffer.from(this.#lines.join("")).subarray(from, from + most);
    }
    const buffer = Buffer.allocUnsafe(Math.min(most, this.#written - at));
    const { bytesRead = 0 } = (await this.#file?.read(buffer, 0, buffer.length, at)) ?? {};
    if (bytesRead === 0) throw new Error("a list of files was cut short");
    return buffer.subarray(0, bytesRead);
  }

  async #flush(): Promise<void> {
    this.#file ??= await nameless(this.#directory);
    const bytes = Buffer.from(this.#lines.join(""));
    for (let from = 0; from < bytes.length;) {
      const { bytesWritten } = await this.#file.write(bytes, from, bytes.length - from, this.#written + from);
      from += bytesWritten;
    }
    this.#written += bytes.length;
    this.#lines = [];
    this.#waiting = 0;
  }
}

async function nameless(directory: string): Promise<FileHandle> {
  await mkdir(directory, { recursive: true });
  const path = join(directory, `.list-${randomBytes(8).toString("hex")}`);
  const file = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
  try {
    await unlink(path);
  } catch (error) {
    await file.close();
    throw error;
  }
  return file;
}
