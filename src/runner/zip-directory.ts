/**
 * What a ZIP archive says it holds, by its central directory (APPNOTE 4.3), refused whole when anything of it is not plain: a name that leaves
 * the directory, a link, two entries at one place, data that two entries share. Only what every tool writes is read: stored or
 * deflated entries, without encryption, in one file below 4 GiB.
 */
import type { FileHandle } from "node:fs/promises";

export interface ZipEntry {
  /** Relative, with `/` between its parts, none of them empty, `.` or `..`. */
  readonly name: string;
  readonly kind: "file" | "directory";
  readonly executable: boolean;
  readonly deflated: boolean;
  readonly crc32: number;
  readonly storedBytes: number;
  readonly bytes: number;
  /** Where its data begins in the archive. */
  readonly dataAt: number;
}

/** The archive is damaged, unsafe, or of a kind that is not read. */
export class ZipError extends Error {}

const signatures = { end: 0x06054b50, entry: 0x02014b50, local: 0x04034b50 };
/** Of the fixed parts, and the longest comment at the archive's end. */
const sizes = { end: 22, entry: 46, local: 30, comment: 65_535 };
/** Of a directory that is read: some 500,000 entries. */
const mostDirectoryBytes = 64 * 1024 * 1024;
const longestNameBytes = 4_096;
const longestPartBytes = 255;
/** Of the "version made by": file modes of Unix are in the upper half of the external attributes. */
const unix = 3;
const fileTypes = { mask: 0o170_000, regular: 0o100_000, directory: 0o040_000 };

/** @throws ZipError */
export async function readZipDirectory(
  file: FileHandle,
  limits: { readonly maxBytes: number },
): Promise<readonly ZipEntry[]> {
  const { size } = await file.stat();
  const end = await findEnd(file, size);
  const directory = await bytesAt(file, end.directoryAt, end.directoryBytes);
  const found: Found[] = [];
  let at = 0;
  for (let index = 0; index < end.entries; index++) {
    const entry = readEntry(directory, at);
    at = entry.next;
    found.push(entry);
  }
  if (at !== directory.length) throw new ZipError("its directory has more in it than it says");
  checkPlaces(found);
  const total = found.reduce((sum, { bytes }) => sum + bytes, 0);
  if (total > limits.maxBytes) {
    throw new ZipError(`it holds '${total}' bytes; allowed: at most ${limits.maxBytes} (max_size of the app)`);
  }
  const entries: ZipEntry[] = [];
  for (const entry of found) entries.push({ ...entry, dataAt: await dataOf(file, entry, end.directoryAt) });
  checkOverlaps(entries);
  return entries;
}

interface Found extends Omit<ZipEntry, "dataAt"> {
  readonly rawName: Buffer;
  readonly headerAt: number;
  readonly next: number;
}

async function findEnd(
  file: FileHandle,
  size: number,
): Promise<{ readonly entries: number; readonly directoryAt: number; readonly directoryBytes: number }> {
  const from = Math.max(0, size - sizes.end - sizes.comment);
  const tail = await bytesAt(file, from, size - from);
  for (let at = tail.length - sizes.end; at >= 0; at--) {
    if (tail.readUInt32LE(at) !== signatures.end || at + sizes.end + tail.readUInt16LE(at + 20) !== tail.length)
      continue;
    const [disk, directoryDisk, here, entries] = [4, 6, 8, 10].map((offset) => tail.readUInt16LE(at + offset));
    const directoryBytes = tail.readUInt32LE(at + 12);
    const directoryAt = tail.readUInt32LE(at + 16);
    if (disk !== 0 || directoryDisk !== 0 || here !== entries) throw new ZipError("it is in several parts");
    if (entries === 0xffff || directoryAt === 0xffffffff) throw new ZipError("it has more than 65534 entries or 4 GiB");
    if (directoryBytes > mostDirectoryBytes) throw new ZipError("its directory has more than 64 MiB");
    if (directoryAt + directoryBytes > from + at) throw new ZipError("its directory does not lie within it");
    return { entries: entries ?? 0, directoryAt, directoryBytes };
  }
  throw new ZipError("it is no ZIP archive, or not a whole one");
}

function readEntry(directory: Buffer, at: number): Found {
  if (at + sizes.entry > directory.length || directory.readUInt32LE(at) !== signatures.entry) {
    throw new ZipError("its directory is damaged");
  }
  const short = (offset: number): number => directory.readUInt16LE(at + offset);
  const long = (offset: number): number => directory.readUInt32LE(at + offset);
  const nameEnd = at + sizes.entry + short(28);
  const next = nameEnd + short(30) + short(32);
  if (next > directory.length) throw new ZipError("its directory is damaged");
  const rawName = Buffer.from(directory.subarray(at + sizes.entry, nameEnd));
  const text = nameOf(rawName);
  const mode = short(4) >> 8 === unix ? long(38) >>> 16 : 0;
  const directoryEntry = text.endsWith("/");
  const type = mode & fileTypes.mask;
  const expected = directoryEntry ? fileTypes.directory : fileTypes.regular;
  if (type !== 0 && type !== expected) throw new ZipError(`'${text}' is a link or a special file`);
  if ((short(8) & 1) !== 0) throw new ZipError(`'${text}' is encrypted`);
  const method = short(10);
  if (method !== 0 && method !== 8)
    throw new ZipError(`'${text}' is packed by method ${method}; read are 0 and 8 (deflate)`);
  const [storedBytes, bytes, headerAt] = [long(20), long(24), long(42)];
  if ([storedBytes, bytes, headerAt].includes(0xffffffff)) throw new ZipError(`'${text}' has 4 GiB or more`);
  if (method === 0 && storedBytes !== bytes) throw new ZipError(`'${text}' has two sizes`);
  if (directoryEntry && bytes !== 0) throw new ZipError(`'${text}' is a directory with content`);
  return {
    name: text.replace(/\/$/, ""),
    kind: directoryEntry ? "directory" : "file",
    executable: (mode & 0o111) !== 0,
    deflated: method === 8,
    crc32: long(16),
    ...{ storedBytes, bytes, rawName, headerAt, next },
  };
}

/** UTF-8 whatever the archive's flag says: other code pages would name other files on each machine. */
function nameOf(raw: Buffer): string {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(raw);
  } catch {
    throw new ZipError(`the name '${raw.toString("latin1").replace(/\p{Cc}/gu, "?")}' is not UTF-8`);
  }
  const shown = text.replace(/\p{Cc}/gu, "?").slice(0, 200);
  if (/[\p{Cc}\\]/u.test(text)) throw new ZipError(`the name '${shown}' holds a control character or backslash`);
  const parts = text.replace(/\/$/, "").split("/");
  if (parts.some((part) => part === "" || part === "." || part === "..")) {
    throw new ZipError(`'${shown}' leaves its directory, or has an empty part`);
  }
  if (raw.length > longestNameBytes || parts.some((part) => Buffer.byteLength(part) > longestPartBytes)) {
    throw new ZipError(`the name '${shown}…' is too long`);
  }
  return text;
}

/** Each place once, and nothing below a file. */
function checkPlaces(entries: readonly Found[]): void {
  const kinds = new Map<string, ZipEntry["kind"]>();
  for (const { name, kind } of entries) {
    if (kinds.has(name)) throw new ZipError(`'${name}' is there twice`);
    kinds.set(name, kind);
  }
  for (const { name } of entries) {
    for (let cut = name.lastIndexOf("/"); cut > 0; cut = name.lastIndexOf("/", cut - 1)) {
      if (kinds.get(name.slice(0, cut)) === "file") throw new ZipError(`'${name}' lies below a file`);
    }
  }
}

/** Its own header names it as the directory does; else tools would disagree about what is in the archive. */
async function dataOf(file: FileHandle, { headerAt, rawName, name, storedBytes }: Found, end: number): Promise<number> {
  const header = await bytesAt(file, headerAt, sizes.local + rawName.length);
  const good =
    header.readUInt32LE(0) === signatures.local &&
    header.readUInt16LE(26) === rawName.length &&
    header.subarray(sizes.local).equals(rawName);
  const dataAt = headerAt + sizes.local + rawName.length + header.readUInt16LE(28);
  if (!good || dataAt + storedBytes > end) throw new ZipError(`'${name}' is not where the directory says`);
  return dataAt;
}

/** Entries that share data make terabytes of kilobytes. */
function checkOverlaps(entries: readonly ZipEntry[]): void {
  let free = 0;
  for (const { name, dataAt, storedBytes } of entries.toSorted((a, b) => a.dataAt - b.dataAt)) {
    if (dataAt < free) throw new ZipError(`'${name}' shares its data with another entry`);
    free = dataAt + storedBytes;
  }
}

async function bytesAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.read(buffer, filled, length - filled, position + filled);
    if (bytesRead === 0) throw new ZipError("it ends too early");
    filled += bytesRead;
  }
  return buffer;
}
