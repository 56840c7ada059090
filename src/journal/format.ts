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
/** A file is read in pieces of this size, or whole where it is shorter. */
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

function checksum(bytes: string | Buffer): string {
  return crc32(bytes).toString(16).padStart(checksumLength, "0");
}

/** What is known of a line without a look at its data. */
export interface Envelope {
  readonly v: number;
  readonly seq: number;
  readonly kind: string;
  readonly left: number;
}

/** The JSON of a line (without its newline), or undefined when one bit of it is not as written. */
function jsonOf(line: Buffer): Buffer | undefined {
  if (line.length < checksumLength + 3 || line[checksumLength] !== separator) return undefined;
  const json = line.subarray(checksumLength + 1);
  return line.toString("latin1", 0, checksumLength) === checksum(json) ? json : undefined;
}

/** The record of a line (without its newline), or undefined when one bit of it is not as written. */
export function decodeLine(line: Buffer): Line | undefined {
  const json = jsonOf(line);
  return json && decodeJson(json);
}

/** The record that a line's JSON is; undefined when it is none. */
export function decodeJson(json: Buffer): Line | undefined {
  try {
    const value: unknown = JSON.parse(json.toString("utf8"));
    return isLine(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** As `encodeLine` writes it, up to the data. Where the line's checksum is right the data is as it was written, too. */
const envelopePattern =
  /^\{"v":(\d{1,9}),"seq":(\d{1,15}),"at":"[^"\\]*","kind":"([^"\\]*)"(?:,"job":"(?:[^"\\]|\\.)*")?(?:,"left":(\d{1,9}))?,"data":\{/;
/** Kind and job of nearly all lines end before this. */
const envelopeBytes = 400;

function envelopeOf(json: Buffer): Envelope | undefined {
  const match = envelopePattern.exec(json.toString("latin1", 0, envelopeBytes));
  if (match) {
    const [, v, seq, kind = "", left] = match;
    return { v: Number(v), seq: Number(seq), kind, left: left === undefined ? 0 : Number(left) };
  }
  const line = decodeJson(json);
  return line && { v: line.v, seq: line.seq, kind: line.kind, left: line.left ?? 0 };
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

/** The first line of a file. */
export interface Header {
  readonly v: number;
  readonly seq: number;
  /** Without the state of a snapshot. */
  readonly data: JsonObject;
  /** JSON of the snapshot's state, where the generation begins with one. */
  readonly state: Buffer | undefined;
}

const stateKey = ',"state":';

/** The state is not decoded here: it may be most of the memory that the agent needs. */
function headerOf(json: Buffer): Header | undefined {
  // A quote within a string is written with a backslash before it: the key is found where it is one.
  const at = json.indexOf(stateKey);
  const isWithState = at !== -1 && json.at(-1) === 0x7d && json.at(-2) === 0x7d;
  const line = isWithState ? decodeJson(Buffer.concat([json.subarray(0, at), Buffer.from("}}")])) : decodeJson(json);
  if (!line || line.kind !== ownKinds.header) return undefined;
  const state = isWithState ? json.subarray(at + stateKey.length, -2) : undefined;
  return { v: line.v, seq: line.seq, data: line.data, state };
}

/** Takes what is found while a file is read: memory need not hold it all. Buffers are valid during the call only. */
export interface ScanSink {
  /** The header, if it is intact: before all records. */
  header?(header: Header): void;
  /** Each intact record whose group is whole, in order of the file. */
  record(json: Buffer, envelope: Envelope): void;
  /** Asked between two pieces of a file: the rest is read when it has resolved. */
  pause?(): Promise<void> | undefined;
}

/** What lies in one file. */
export interface Scan {
  /** The first line, if it is an intact header; its state is not kept. */
  readonly header: Omit<Header, "state"> | undefined;
  /** How many records were given to the sink; the sequence number of the last one (of the header when there is none), and the highest. */
  readonly records: number;
  readonly lastSeq: number;
  readonly highestSeq: number;
  /** Data of the first record of a salvage. */
  readonly salvaged: JsonObject | undefined;
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
export async function scanFile(disk: Disk, path: string, sink: ScanSink): Promise<Scan> {
  const scanner = new Scanner(sink);
  const file = disk.open(path, "r");
  try {
    const chunk = Buffer.allocUnsafe(Math.min(chunkBytes, (disk.size(path) ?? chunkBytes) + 1));
    for (;;) {
      const length = disk.read(file, chunk, null);
      if (length === 0) return scanner.result();
      scanner.feed(chunk.subarray(0, length));
      await sink.pause?.();
    }
  } finally {
    disk.close(file);
  }
}

/** As `scanFile`, of a file's bytes in memory. */
export function scanBytes(bytes: Buffer, sink: ScanSink): Scan {
  const scanner = new Scanner(sink);
  scanner.feed(bytes);
  return scanner.result();
}

class Scanner {
  readonly #sink: ScanSink;
  /** Intact records whose group is not whole yet. */
  #group: { readonly json: Buffer; readonly envelope: Envelope }[] = [];
  #records = 0;
  #lastSeq = 0;
  #highestSeq = 0;
  #salvaged: JsonObject | undefined;
  #header: Omit<Header, "state"> | undefined;
  #headerBytes = 0;
  #lines = 0;
  #offset = 0;
  #groupEnd = 0;
  #version = 0;
  #badLines = 0;
  #badEnd = -1;
  #previous: number | undefined;
  #problem = "";
  /** The beginning of a line whose end is not read yet. */
  #rest: Buffer[] = [];

  constructor(sink: ScanSink) {
    this.#sink = sink;
  }

  /** Takes the next bytes of the file; they are not kept. */
  feed(chunk: Buffer): void {
    let start = 0;
    for (let end = chunk.indexOf(newline); end !== -1; end = chunk.indexOf(newline, start)) {
      const piece = chunk.subarray(start, end);
      this.#take(this.#rest.length === 0 ? piece : Buffer.concat([...this.#rest, piece]), 1);
      this.#rest = [];
      start = end + 1;
    }
    if (start < chunk.length) this.#rest.push(Buffer.from(chunk.subarray(start)));
  }

  #take(bytes: Buffer, newlines: 0 | 1): void {
    const start = this.#offset;
    this.#offset += bytes.length + newlines;
    this.#lines++;
    const json = newlines === 1 ? jsonOf(bytes) : undefined;
    const header = json && this.#lines === 1 ? headerOf(json) : undefined;
    const envelope = json && !header ? envelopeOf(json) : undefined;
    if (header) this.#takeHeader(header, start);
    else if (json && envelope) {
      this.#version = Math.max(this.#version, envelope.v);
      // The last line of a group comes before the group counts.
      this.#checkOrder(envelope, start);
      this.#takeRecord(json, envelope);
    } else {
      this.#badLines++;
      this.#badEnd = this.#offset;
      this.#problem ||= `line ${this.#lines} (byte ${start}) is not as it was written`;
    }
  }

  #takeHeader(header: Header, start: number): void {
    const schema = header.data["schema"];
    this.#version = Math.max(header.v, typeof schema === "number" ? schema : 0);
    this.#header = { v: header.v, seq: header.seq, data: header.data };
    this.#headerBytes = this.#offset;
    this.#lastSeq = this.#highestSeq = header.seq;
    this.#sink.header?.(header);
    this.#checkOrder({ seq: header.seq, left: 0 }, start);
  }

  #takeRecord(json: Buffer, envelope: Envelope): void {
    if (envelope.left > 0) {
      this.#group.push({ json: Buffer.from(json), envelope });
      return;
    }
    for (const one of this.#group) this.#give(one.json, one.envelope);
    this.#group = [];
    this.#give(json, envelope);
  }

  #give(json: Buffer, envelope: Envelope): void {
    this.#records++;
    this.#lastSeq = envelope.seq;
    this.#highestSeq = Math.max(this.#highestSeq, envelope.seq);
    if (envelope.kind === ownKinds.salvaged) this.#salvaged ??= decodeJson(json)?.data;
    this.#sink.record(json, envelope);
  }

  #checkOrder(line: Pick<Envelope, "seq" | "left">, start: number): void {
    if (this.#badLines === 0 && this.#previous !== undefined && line.seq !== this.#previous + 1) {
      this.#badLines++;
      this.#problem ||= `record ${line.seq} follows record ${this.#previous} (line ${this.#lines}, byte ${start})`;
    }
    this.#previous = line.seq;
    if (this.#badLines > 0) return;
    if (line.left === 0) this.#groupEnd = this.#offset;
  }

  /** After the last byte. Records of a last group that is not whole do not count. */
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
    return {
      header: this.#header,
      records: this.#records,
      lastSeq: this.#lastSeq,
      highestSeq: this.#highestSeq,
      salvaged: this.#salvaged,
      headerBytes: this.#headerBytes,
      goodEnd: this.#groupEnd,
      bytes: this.#offset,
      state,
      problem: this.#problem,
      version: this.#version,
    };
  }
}
