/**
 * Archives as `tar` writes and reads them (POSIX.1-2017, pax, "ustar Interchange Format"; long names as GNU tar has them), of regular
 * files alone: whatever else stands in one that comes from a remote is refused.
 */
import { Fault } from "../../common/fault.ts";

const blockBytes = 512;
/** Of a name in a header; longer ones come before it as a file of type `L`. */
const nameBytes = 100;
const longestName = 8_192;
/** Two empty blocks. */
export const endBytes = 2 * blockBytes;

/** A file in an archive. */
export interface Member {
  readonly name: string;
  readonly bytes: number;
  /** Permission bits. */
  readonly mode: number;
  /** Seconds since 1970. */
  readonly mtime: number;
}

/** Bytes of a member with its headers. */
export function memberBytes(name: string, bytes: number): number {
  const length = Buffer.byteLength(name);
  const longName = length > nameBytes ? blockBytes + padded(length + 1) : 0;
  return longName + blockBytes + padded(bytes);
}

/** Writes the headers of a member at `at`; returns where its content goes. */
export function writeHeader(target: Buffer, at: number, member: Member): number {
  const name = Buffer.from(member.name);
  let next = at;
  if (name.length > nameBytes) {
    writeBlock(
      target,
      next,
      { name: Buffer.from("././@LongLink"), bytes: name.length + 1, mode: 0o644, mtime: 0 },
      "L",
    );
    next += blockBytes;
    target.fill(0, next, next + padded(name.length + 1));
    name.copy(target, next);
    next += padded(name.length + 1);
  }
  writeBlock(target, next, { ...member, name: name.subarray(0, nameBytes) }, "0");
  return next + blockBytes;
}

function writeBlock(
  target: Buffer,
  at: number,
  { name, bytes, mode, mtime }: { readonly name: Buffer } & Omit<Member, "name">,
  type: "0" | "L",
): void {
  const block = target.subarray(at, at + blockBytes).fill(0);
  const octal = (value: number, from: number, length: number): void => {
    block.write(
      Math.max(0, Math.trunc(value))
        .toString(8)
        .padStart(length - 1, "0"),
      from,
      "latin1",
    );
  };
  name.copy(block, 0);
  octal(mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(bytes, 124, 12);
  octal(mtime, 136, 12);
  block.write(`        ${type}`, 148, "latin1");
  block.write("ustar  ", 257, "latin1");
  octal(sumOf(block), 148, 7);
}

/** A member whose content lies whole in `ArchiveReader.buffer`. */
export interface FoundMember {
  readonly name: string;
  readonly at: number;
  readonly bytes: number;
}

/** A file as it was listed. */
export interface Wanted {
  readonly bytes: number | undefined;
  readonly mtimeMs: number | undefined;
}

/** Takes an archive as it comes and tells of the members that are there whole. */
export class ArchiveReader {
  readonly #wanted: (name: string) => Wanted | undefined;
  #parts: Buffer[] = [];
  #waiting = 0;

  /** `wanted`: what the archive may hold; undefined for a name that it may not. */
  constructor(wanted: (name: string) => Wanted | undefined) {
    this.#wanted = wanted;
  }

  /** Bytes that came and were not told of. */
  get waiting(): number {
    return this.#waiting;
  }

  add(chunk: Uint8Array): void {
    this.#parts.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
    this.#waiting += chunk.byteLength;
  }

  /** The whole members of what has come. @throws Fault UNSAFE_PATH, TRANSFER for what should not be in the archive. */
  take(): { readonly buffer: Buffer; readonly members: readonly FoundMember[] } {
    const buffer = Buffer.concat(this.#parts);
    const members: FoundMember[] = [];
    let [at, longName]: [number, string | undefined] = [0, undefined];
    let whole = 0;
    while (at + blockBytes <= buffer.length) {
      const header = readHeader(buffer.subarray(at, at + blockBytes));
      const content = at + blockBytes;
      if (!header) {
        whole = content; // the end; empty blocks follow
        at = content;
        continue;
      }
      if (header.type === "L" && header.bytes > longestName) throw strange("a name is too long");
      const name = longName ?? header.name;
      if (header.type !== "L") this.#check(name, header);
      if (content + padded(header.bytes) > buffer.length) break;
      at = content + padded(header.bytes);
      if (header.type === "L") {
        longName = cString(buffer.subarray(content, content + header.bytes));
        continue;
      }
      members.push({ name, at: content, bytes: header.bytes });
      longName = undefined;
      whole = at;
    }
    const rest = buffer.subarray(whole);
    this.#parts = rest.length === 0 ? [] : [Buffer.from(rest)];
    this.#waiting = rest.length;
    return { buffer, members };
  }

  #check(name: string, { type, bytes, mtime }: Header): void {
    const expected = this.#wanted(name);
    if (expected === undefined) throw strange("there is a file in it that nobody asked for");
    const sameTime = expected.mtimeMs === undefined || Math.trunc(expected.mtimeMs / 1000) === mtime;
    if (type !== "0" || bytes !== expected.bytes || !sameTime) {
      throw new Fault("TRANSFER", "a file changed since it was listed", { details: { source_changed: true } });
    }
  }
}

interface Header {
  readonly name: string;
  readonly type: string;
  readonly bytes: number;
  readonly mtime: number;
}

/** Undefined: an empty block. */
function readHeader(block: Buffer): Header | undefined {
  const sum = Number.parseInt(cString(block.subarray(148, 156)), 8);
  const actual = sumOf(block);
  if (Number.isNaN(sum) && actual === 8 * 0x20) return undefined;
  const [size, mtime] = [cString(block.subarray(124, 136)).trim(), cString(block.subarray(136, 148)).trim()];
  if (sum !== actual || !/^[0-7]+$/.test(size)) throw strange("it is damaged");
  const type = block.toString("latin1", 156, 157);
  return {
    name: cString(block.subarray(0, nameBytes)),
    type: type === "\0" ? "0" : type,
    bytes: Number.parseInt(size, 8),
    mtime: Number.parseInt(mtime, 8),
  };
}

/** Sum of all bytes, its own eight taken as blanks. */
function sumOf(block: Buffer): number {
  let sum = 8 * 0x20;
  for (let at = 0; at < 148; at++) sum += block[at] ?? 0;
  for (let at = 156; at < blockBytes; at++) sum += block[at] ?? 0;
  return sum;
}

function cString(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString("utf8", 0, end < 0 ? bytes.length : end);
}

export function padded(bytes: number): number {
  return Math.ceil(bytes / blockBytes) * blockBytes;
}

function strange(why: string): Fault {
  return new Fault("UNSAFE_PATH", `the archive from the remote is refused: ${why}`);
}
