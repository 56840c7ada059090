import { dirname, join } from "node:path";
import { failpoint } from "../common/failpoint.ts";
import { Fault } from "../common/fault.ts";
import type { JsonObject } from "../common/json.ts";
import { type Disk, writeAll } from "./disk.ts";
import { encodeLine, type Line, ownKinds, type RecordText, type Scan, scanFile, schemaVersion } from "./format.ts";
import type { WorkerData } from "./messages.ts";
import type { JournalOpening, StoredRecord } from "./types.ts";

/** How many cut tails are kept aside. */
const tornKept = 10;
const rewriteBytes = 1024 * 1024;

/** A journal file that is ready to be written to. */
export interface Opened {
  readonly generation: number;
  readonly file: number;
  readonly end: number;
  readonly headerBytes: number;
  readonly lastSeq: number;
  readonly recordCount: number;
  readonly snapshot: JsonObject | undefined;
  readonly records: readonly StoredRecord[];
  readonly repair: JournalOpening["repair"];
}

export type HeaderSource = Pick<WorkerData, "directory" | "agentId" | "host" | "bootId">;

/**
 * Finds the newest generation, repairs what a crash or a bad disk left, and opens it. Nothing is changed before all files
 * are read, so that a journal of a newer siteagent stays as it is.
 * @throws Fault JOURNAL_VERSION
 */
export async function openFiles(disk: Disk, source: HeaderSource, at: string): Promise<Opened> {
  disk.makeDirectory(source.directory);
  const generations = listGenerations(disk, source.directory);
  const newest = generations.at(-1);
  if (newest === undefined) {
    syncAncestors(disk, source.directory);
    return createGeneration(disk, source, 1, at, { lines: [], snapshot: undefined });
  }
  const scan = scanGeneration(disk, source.directory, newest);
  let opened: Opened;
  if (scan.state === "damaged" || scan.header?.data["agentId"] !== source.agentId) {
    opened = await salvage(disk, source, at, generations, scan);
  } else {
    // The last process may have ended between the rename of this generation and the sync that keeps its name.
    disk.syncDirectory(source.directory);
    opened = await openIntact(disk, source, newest, scan, at);
  }
  removeLeftovers(disk, source.directory);
  return opened;
}

/**
 * Makes the names of the journal's directory and of those above it durable, whoever made them and whether he lived to sync them. Not
 * all above the state directory may be ours to open: those have been there before.
 */
function syncAncestors(disk: Disk, directory: string): void {
  const parent = dirname(directory);
  disk.syncDirectory(parent);
  for (let path = parent; path !== dirname(path); path = dirname(path)) {
    try {
      disk.syncDirectory(dirname(path));
    } catch {
      return;
    }
  }
}

export function generationPath(directory: string, generation: number): string {
  return join(directory, `journal.${String(generation).padStart(8, "0")}.log`);
}

/** Generations that have a file, oldest first. */
export function listGenerations(disk: Disk, directory: string): readonly number[] {
  const found: number[] = [];
  for (const name of disk.list(directory)) {
    const match = /^journal\.(\d{8})\.log$/.exec(name);
    if (match) found.push(Number(match[1]));
  }
  return found.sort((a, b) => a - b);
}

function scanGeneration(disk: Disk, directory: string, generation: number): Scan {
  const path = generationPath(directory, generation);
  const scan = scanFile(disk, path);
  if (scan.version > schemaVersion) {
    throw new Fault(
      "JOURNAL_VERSION",
      `the journal '${path}' has schema version '${scan.version}'; this siteagent reads up to ${schemaVersion}`,
      {
        hint: "install the siteagent that wrote it, or a newer one; nothing was changed",
        details: { path, found: scan.version, supported: schemaVersion },
      },
    );
  }
  return scan;
}

async function openIntact(
  disk: Disk,
  source: HeaderSource,
  generation: number,
  scan: Scan,
  at: string,
): Promise<Opened> {
  const path = generationPath(source.directory, generation);
  const repair = scan.state === "torn" ? await cutTail(disk, path, scan, at) : earlierSalvage(scan);
  const file = disk.open(path, "r+");
  rewrite(disk, file, scan);
  return {
    generation,
    file,
    end: scan.goodEnd,
    headerBytes: scan.headerBytes,
    lastSeq: scan.records.at(-1)?.seq ?? scan.header?.seq ?? 0,
    recordCount: scan.records.length,
    snapshot: snapshotOf(scan),
    records: agentRecords(scan.records),
    repair,
  };
}

/**
 * Writes the records in place as they were read. A sync that failed for the last process may have left them in memory alone, counted as
 * written: the next sync, before anything is told, then takes them to the disk, or fails again. The header was synced before its name.
 */
function rewrite(disk: Disk, file: number, scan: Scan): void {
  const chunk = Buffer.allocUnsafe(Math.min(rewriteBytes, scan.goodEnd - scan.headerBytes));
  for (let at = scan.headerBytes; at < scan.goodEnd; at += chunk.length) {
    const part = chunk.subarray(0, Math.min(chunk.length, scan.goodEnd - at));
    const length = disk.read(file, part, at);
    writeAll(disk, file, part.subarray(0, length), at);
  }
}

/** A salvage is told again at each opening until the agent compacts: it may have died before it acted upon it. */
function earlierSalvage(scan: Scan): JournalOpening["repair"] {
  const told = scan.records.find((record) => record.kind === ownKinds.salvaged);
  if (!told) return { kind: "none" };
  const { message, keptAside } = told.data;
  return {
    kind: "salvage",
    ...(typeof message === "string" ? { message } : {}),
    ...(typeof keptAside === "string" ? { keptAside } : {}),
  };
}

async function cutTail(disk: Disk, path: string, scan: Scan, at: string): Promise<JournalOpening["repair"]> {
  const aside = `${path}.torn-${at.replaceAll(":", "")}`;
  const file = disk.open(path, "r+");
  try {
    const tail = Buffer.alloc(scan.bytes - scan.goodEnd);
    disk.read(file, tail, scan.goodEnd);
    keepAside(disk, aside, tail);
    await failpoint("journal.before-cut");
    disk.truncate(file, scan.goodEnd);
    disk.sync(file);
    await failpoint("journal.after-cut");
  } finally {
    disk.close(file);
  }
  const salvage = earlierSalvage(scan);
  if (salvage.kind === "salvage") return salvage;
  return {
    kind: "torn-tail",
    message: `cut ${scan.bytes - scan.goodEnd} bytes of an unfinished write: ${scan.problem}`,
    keptAside: aside,
  };
}

/** Best effort: a full disk must not keep the journal from opening. */
function keepAside(disk: Disk, path: string, tail: Buffer): void {
  try {
    const file = disk.open(path, "w");
    try {
      writeAll(disk, file, tail, 0);
      disk.sync(file);
    } finally {
      disk.close(file);
    }
  } catch {
    disk.remove(path);
  }
}

/**
 * Rebuilds from the newest intact snapshot and every intact record after it, in a new generation; only then the damaged
 * files are moved aside.
 */
async function salvage(
  disk: Disk,
  source: HeaderSource,
  at: string,
  generations: readonly number[],
  newestScan: Scan,
): Promise<Opened> {
  const newest = generations.at(-1) ?? 0;
  const path = generationPath(source.directory, newest);
  const stranger = newestScan.header !== undefined && newestScan.header.data["agentId"] !== source.agentId;
  const damaged = [newest];
  let snapshot: JsonObject | undefined;
  let lines: readonly Line[] = [];
  if (stranger) {
    damaged.unshift(...generations.slice(0, -1));
  } else {
    snapshot = snapshotOf(newestScan);
    lines = newestScan.records;
    const older = generations.at(-2);
    if (newestScan.header === undefined && older !== undefined) {
      const scan = scanGeneration(disk, source.directory, older);
      if (scan.header?.data["agentId"] === source.agentId || scan.header === undefined) {
        if (scan.state === "damaged") damaged.unshift(older);
        snapshot = snapshotOf(scan);
        lines = [...scan.records, ...lines];
      }
    }
  }
  const aside = `${path}.damaged-${at.replaceAll(":", "")}`;
  const problem = stranger
    ? `it belongs to agent '${agentOf(newestScan)}', not to '${source.agentId}'`
    : newestScan.problem;
  const message = `the journal '${path}' cannot be used as it is: ${problem}; ${lines.length} intact records were kept`;
  const told: Line = { v: 1, seq: 0, at, kind: ownKinds.salvaged, data: { message, keptAside: aside } };
  const opened = await createGeneration(disk, source, newest + 1, at, { lines: [...lines, told], snapshot });
  await failpoint("journal.before-move-aside");
  for (const generation of damaged) {
    const from = generationPath(source.directory, generation);
    disk.rename(from, generation === newest ? aside : `${from}.damaged-${at.replaceAll(":", "")}`);
  }
  disk.syncDirectory(source.directory);
  await failpoint("journal.after-move-aside");
  return { ...opened, repair: { kind: "salvage", message, keptAside: aside } };
}

/** Writes a whole generation under a temporary name, syncs it, gives it its name and syncs the directory. */
async function createGeneration(
  disk: Disk,
  source: HeaderSource,
  generation: number,
  at: string,
  content: { readonly lines: readonly Line[]; readonly snapshot: JsonObject | undefined },
): Promise<Opened> {
  const first = 1 + Math.max(0, ...lastSeqs(content.lines));
  const header = headerLine(source, generation, first, at, JSON.stringify(content.snapshot));
  const lines = content.lines.map((line, index): Line => ({ ...withoutGroup(line), seq: first + 1 + index }));
  const body = lines.map((line) => encodeLine({ ...line, data: JSON.stringify(line.data), left: 0 }));
  const file = await placeGeneration(disk, source.directory, generation, Buffer.concat([header, ...body]));
  return {
    generation,
    file: file.descriptor,
    end: file.bytes,
    headerBytes: header.length,
    lastSeq: first + lines.length,
    recordCount: lines.length,
    snapshot: content.snapshot,
    records: agentRecords(lines),
    repair: { kind: "none" },
  };
}

function lastSeqs(lines: readonly Line[]): readonly number[] {
  let last = 0;
  for (const line of lines) last = Math.max(last, line.seq);
  return [last];
}

/** The first line of a generation; `state` is JSON text of the snapshot, or undefined when there is none. */
export function headerLine(
  source: HeaderSource,
  generation: number,
  seq: number,
  at: string,
  state: string | undefined,
): Buffer {
  const known = JSON.stringify({
    schema: schemaVersion,
    agentId: source.agentId,
    host: source.host,
    bootId: source.bootId,
    generation,
  });
  const data = state === undefined ? known : `${known.slice(0, -1)},"state":${state}}`;
  const text: RecordText = { seq, at, kind: ownKinds.header, data, left: 0 };
  return encodeLine(text);
}

/** Temp, sync, rename, directory sync; gives the open file. The temporary name is gone when that fails. */
export async function placeGeneration(
  disk: Disk,
  directory: string,
  generation: number,
  content: Buffer,
): Promise<{ readonly descriptor: number; readonly bytes: number }> {
  const path = generationPath(directory, generation);
  const temporary = `${path}.tmp`;
  const descriptor = disk.open(temporary, "w+");
  try {
    await failpoint("journal.before-snapshot-write");
    writeAll(disk, descriptor, content, 0);
    disk.sync(descriptor);
    await failpoint("journal.before-rename");
    disk.rename(temporary, path);
  } catch (error) {
    disk.close(descriptor);
    disk.remove(temporary);
    throw error;
  }
  await failpoint("journal.after-rename");
  disk.syncDirectory(directory);
  return { descriptor, bytes: content.length };
}

function removeLeftovers(disk: Disk, directory: string): void {
  const torn: string[] = [];
  for (const name of disk.list(directory)) {
    if (/^journal\.\d{8}\.log\.tmp$/.test(name)) disk.remove(join(directory, name));
    if (/^journal\.\d{8}\.log\.torn-/.test(name)) torn.push(name);
  }
  for (const name of torn.sort().slice(0, -tornKept)) disk.remove(join(directory, name));
}

function agentOf(scan: Scan): string {
  const agent = scan.header?.data["agentId"];
  return typeof agent === "string" ? agent : "";
}

function snapshotOf(scan: Scan): JsonObject | undefined {
  const state = scan.header?.data["state"];
  return typeof state === "object" && state !== null && !Array.isArray(state) ? (state as JsonObject) : undefined;
}

function agentRecords(lines: readonly Line[]): readonly StoredRecord[] {
  return lines.filter((line) => !line.kind.startsWith("journal.")).map(withoutGroup);
}

function withoutGroup(line: Line): StoredRecord {
  const { left: _, ...record } = line;
  return record;
}
