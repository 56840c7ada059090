import { crc32 } from "node:zlib";
import { isJsonObject, type JsonObject } from "../common/json.ts";
import type { Disk } from "./disk.ts";
import type { StoredRecord } from "./types.ts";

/** Version of the file's schema, in the header and as `v` of each record. A file with a higher one is not touched. */
export const schemaVersion = 1;

/** Kinds that the journal itself writes; they are never handed to the agent. */
export const ownKinds = { header: "journal.header", opened: "journal.opened", salvaged: "journal.salvaged" } as const;

/** A record as it lies in the file: `left` = how many records of its group follow it (absent = 0, the group is whole). */
export interface Line extends StoredRecord {
  readonly left?: number;
}

const newline = 0x0a;
const separator = 0x20;
const checksumLength = 8;
const chunkBytes = 1024 * 1024;

/** What is written of one record; `data` is JSON text already. */
export interface RecordText {
  readonly seq: number;
  readonly at: string;
  readonly kind: string;
  readonly job?: string | undefined;
  readonly data: string;
  readonly left: number;
}

/** One line: `crc32 space json newline`; the checksum is eight small hex digits over the bytes of the JSON. */
export function encodeLine(record: RecordText): Buffer {
  const job = record.job === undefined ? "" : `,"job":${JSON.stringify(record.job)}`;
  const left = record.left === 0 ? "" : `,"left":${record.left}`;
  const json = `{"v":${schemaVersion},"seq":${record.seq},"at":${JSON.stringify(record.at)},"kind":${JSON.stringify(record.kind)}${job}${left},"data":${record.data}}`;
  return Buffer.from(`${checksum(json)} ${json}\n`);
}

/** The record of a line (without its newline), or undefined when one bit of it is not as written. */
export function decodeLine(line: Buffer): Line | undefined {
  if (line.length < checksumLength + 3 || line[checksumLength] !== separator) return undefined;
  const body = line.subarray(checksumLength + 1);
  if (line.toString("latin1", 0, checksumLength) !== checksum(body)) return undefined;
  try {
    const value: unknown = JSON.parse(body.toString("utf8"));
    return isLine(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function checksum(bytes: string | Buffer): string {
  return crc32(bytes).toString(16).padStart(checksumLength, "0");
}

function isLine(value: unknown): value is Line {
  if (!isJsonObject(value as JsonObject)) return false;
  const line = value as Partial<Record<keyof Line, unknown>>;
  return (
    Number.isSafeInteger(line.v) &&
    Number.isSafeInteger(line.seq) &&
    typeof line.at === "string" &&
    typeof line.kind === "string" &&
    (line.job === undefined || typeof line.job === "string") &&
    (line.left === undefined || Number.isSafeInteger(line.left)) &&
    typeof line.data === "object" &&
    line.data !== null
  );
}

/** What lies in one file. */
export interface Scan {
  /** The first line, if it is an intact header. */
  readonly header: Line | undefined;
  /** Intact records in order of the file, without the header. */
  readonly records: readonly Line[];
  /** Bytes of the header line. */
  readonly headerBytes: number;
  /** Offset after the last whole group before the first damage. */
  readonly goodEnd: number;
  readonly bytes: number;
  readonly state: "intact" | "torn" | "damaged";
  /** What is wrong, in words; empty when intact. */
  readonly problem: string;
  /** The highest schema version seen in intact lines. */
  readonly version: number;
}

/**
 * Reads a whole file. Torn (usual after a crash): exactly the last line is bad, or the last group is not whole. Everything
 * else that is not as written – a bad line in the middle, several bad lines, a gap in `seq`, no header – is damage.
 */
export function scanFile(disk: Disk, path: string): Scan {
  const scanner = new Scanner();
  const file = disk.open(path, "r");
  try {
    for (;;) {
      const chunk = Buffer.allocUnsafe(chunkBytes);
      const length = disk.read(file, chunk, null);
      if (length === 0) return scanner.result();
      scanner.feed(chunk.subarray(0, length));
    }
  } finally {
    disk.close(file);
  }
}

/** As `scanFile`, of a file's bytes in memory. */
export function scanBytes(bytes: Buffer): Scan {
  const scanner = new Scanner();
  scanner.feed(bytes);
  return scanner.result();
}

class Scanner {
  readonly #records: Line[] = [];
  #header: Line | undefined;
  #headerBytes = 0;
  #lines = 0;
  #offset = 0;
  #groupEnd = 0;
  #left = 0;
  #version = 0;
  #badLines = 0;
  #badEnd = -1;
  #previous: number | undefined;
  #problem = "";
  #rest: Buffer[] = [];

  /** Takes the next bytes of the file. */
  feed(chunk: Buffer): void {
    let start = 0;
    for (let end = chunk.indexOf(newline); end !== -1; end = chunk.indexOf(newline, start)) {
      const piece = chunk.subarray(start, end);
      this.#take(this.#rest.length === 0 ? piece : Buffer.concat([...this.#rest, piece]), 1);
      this.#rest = [];
      start = end + 1;
    }
    if (start < chunk.length) this.#rest.push(chunk.subarray(start));
  }

  #take(bytes: Buffer, newlines: 0 | 1): void {
    const start = this.#offset;
    this.#offset += bytes.length + newlines;
    this.#lines++;
    const line = newlines === 1 ? decodeLine(bytes) : undefined;
    if (!line) {
      this.#badLines++;
      this.#badEnd = this.#offset;
      this.#problem ||= `line ${this.#lines} (byte ${start}) is not as it was written`;
      return;
    }
    this.#version = Math.max(this.#version, line.v);
    if (this.#lines === 1 && line.kind === ownKinds.header) {
      this.#header = line;
      this.#headerBytes = this.#offset;
      const schema = line.data["schema"];
      if (typeof schema === "number") this.#version = Math.max(this.#version, schema);
    } else {
      this.#records.push(line);
    }
    this.#checkOrder(line, start);
  }

  #checkOrder(line: Line, start: number): void {
    if (this.#badLines === 0 && this.#previous !== undefined && line.seq !== this.#previous + 1) {
      this.#badLines++;
      this.#problem ||= `record ${line.seq} follows record ${this.#previous} (line ${this.#lines}, byte ${start})`;
    }
    this.#previous = line.seq;
    if (this.#badLines > 0) return;
    this.#left = line.left ?? 0;
    if (this.#left === 0) this.#groupEnd = this.#offset;
  }

  /** After the last byte. */
  result(): Scan {
    if (this.#rest.length > 0) this.#take(Buffer.concat(this.#rest), 0);
    this.#rest = [];
    const onlyLastLine = this.#badLines === 1 && this.#badEnd === this.#offset;
    let state: Scan["state"] = "intact";
    if (!this.#header) {
      state = "damaged";
      this.#problem = this.#offset === 0 ? "the file is empty" : "the first line is no intact header";
    } else if (this.#badLines > 0 && !onlyLastLine) {
      state = "damaged";
    } else if (this.#groupEnd !== this.#offset) {
      state = "torn";
      this.#problem ||= "the last group of records is not whole";
    }
    const records = state === "intact" ? this.#records : wholeGroups(this.#records);
    return {
      header: this.#header,
      records,
      headerBytes: this.#headerBytes,
      goodEnd: this.#groupEnd,
      bytes: this.#offset,
      state,
      problem: this.#problem,
      version: this.#version,
    };
  }
}

function wholeGroups(records: readonly Line[]): readonly Line[] {
  let end = records.length;
  while (end > 0 && (records[end - 1]?.left ?? 0) > 0) end--;
  return records.slice(0, end);
}
