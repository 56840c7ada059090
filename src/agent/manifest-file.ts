/**
 * The manifest of a job of very many files: a line for each in a file of the job's directory, in place of records in the journal, which
 * would all be in memory. A line begins with a digest of itself and of the line before; what does not fit is not read.
 */
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { createHash } from "../common/crypto.ts";
import { openPlainFile } from "../common/files.ts";
import type { ManifestEntry } from "../transfer/types.ts";

/** A loss of power may take away so many lines: their files are moved once more. What a kill takes away is nothing. */
const syncEvery = 5_000;
const pieceBytes = 64 * 1024;
const digestLength = 16;
const lineEnd = 0x0a;

/** Part of a manifest, with what has to stand in it. Bytes. */
export interface ManifestPage {
  readonly begin: number;
  readonly end: number;
  /** Digest of the line before it, empty for the first; of its own last line. */
  readonly after: string;
  readonly last: string;
}

interface Line {
  readonly entry: ManifestEntry;
  readonly digest: string;
  /** In the file, its end included. */
  readonly bytes: number;
}

/** The entries of a manifest up to the first damage; none where there is no file. */
export async function* readManifest(path: string): AsyncGenerator<ManifestEntry> {
  for await (const { entry } of linesOf(path)) yield entry;
}

/** Cuts a manifest into pages of so many entries. */
export async function pagesOf(path: string, entries: number): Promise<readonly ManifestPage[]> {
  const pages: ManifestPage[] = [];
  let [begin, end, after, last, count] = [0, 0, "", "", 0];
  const close = (): void => {
    if (count > 0) pages.push({ begin, end, after, last });
    [begin, after, count] = [end, last, 0];
  };
  for await (const { digest, bytes } of linesOf(path)) {
    end += bytes;
    last = digest;
    if (++count === entries) close();
  }
  close();
  return pages;
}

/** The entries of a page; undefined when the file does not have them any more. */
export async function readPage(path: string, page: ManifestPage): Promise<readonly ManifestEntry[] | undefined> {
  const entries: ManifestEntry[] = [];
  let last = page.after;
  for await (const { entry, digest } of linesOf(path, page)) {
    entries.push(entry);
    last = digest;
  }
  return last === page.last ? entries : undefined;
}

/** Adds to a manifest. After a failure every later call fails: what was written then is not known. */
export class ManifestFile implements AsyncDisposable {
  readonly #file: FileHandle;
  #digest: string;
  #written: number;
  #unsynced = 0;
  #waiting: string[] = [];
  #tail: Promise<void> = Promise.resolve();

  private constructor(file: FileHandle, digest: string, written: number) {
    this.#file = file;
    this.#digest = digest;
    this.#written = written;
  }

  /** Made if need be; what comes after the first damage is cut off. */
  static async open(path: string): Promise<ManifestFile> {
    let [digest, end] = ["", 0];
    for await (const line of linesOf(path)) {
      digest = line.digest;
      end += line.bytes;
    }
    const file = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
    try {
      await file.truncate(end);
      return new ManifestFile(file, digest, end);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Resolves when no kill of the process takes it away any more. @throws as the file system does */
  async add(entry: ManifestEntry): Promise<void> {
    const text = JSON.stringify(entry);
    this.#digest = digestAfter(this.#digest, text);
    this.#waiting.push(`${this.#digest} ${text}\n`);
    // What comes while others are written is written together with the first of it.
    this.#tail = this.#tail.then(() => this.#writeWaiting());
    await this.#tail;
  }

  /** All that was added is durable. */
  async sync(): Promise<void> {
    await this.#tail;
    await this.#file.sync();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tail.catch(() => undefined);
    await this.#file.close();
  }

  async #writeWaiting(): Promise<void> {
    const lines = this.#waiting;
    if (lines.length === 0) return;
    this.#waiting = [];
    const bytes = Buffer.from(lines.join(""));
    for (let from = 0; from < bytes.length;) {
      const { bytesWritten } = await this.#file.write(bytes, from, bytes.length - from, this.#written);
      from += bytesWritten;
      this.#written += bytesWritten;
    }
    this.#unsynced += lines.length;
    if (this.#unsynced < syncEvery) return;
    this.#unsynced = 0;
    await this.#file.datasync();
  }
}

/** Up to the first that does not fit. */
async function* linesOf(
  path: string,
  { begin, end, after }: Pick<ManifestPage, "begin" | "end" | "after"> = { begin: 0, end: Infinity, after: "" },
): AsyncGenerator<Line> {
  const file = await openPlainFile(path);
  if (!file) return;
  try {
    let [at, before] = [begin, after];
    let rest: Buffer = Buffer.alloc(0);
    while (at < end) {
      const piece = Buffer.allocUnsafe(Math.min(pieceBytes, end - at));
      const { bytesRead } = await file.read(piece, 0, piece.length, at);
      if (bytesRead === 0) return;
      at += bytesRead;
      const text = Buffer.concat([rest, piece.subarray(0, bytesRead)]);
      let from = 0;
      for (let cut = text.indexOf(lineEnd); cut >= 0; cut = text.indexOf(lineEnd, from)) {
        const line = lineOf(text.toString("utf8", from, cut), before, cut + 1 - from);
        if (!line) return;
        yield line;
        before = line.digest;
        from = cut + 1;
      }
      rest = text.subarray(from);
    }
  } finally {
    await file.close();
  }
}

function lineOf(line: string, before: string, bytes: number): Line | undefined {
  const [digest, text] = [line.slice(0, digestLength), line.slice(digestLength + 1)];
  if (digest !== digestAfter(before, text)) return undefined;
  return { entry: JSON.parse(text) as ManifestEntry, digest, bytes };
}

function digestAfter(before: string, text: string): string {
  return createHash("sha256").update(`${before} ${text}`).digest("hex").slice(0, digestLength);
}
