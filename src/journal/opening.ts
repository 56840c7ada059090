import {
  closeSync,
  fdatasyncSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { failpoint } from "../common/failpoint.ts";
import { Fault } from "../common/fault.ts";
import type { JsonObject } from "../common/json.ts";
import { encodeLine, type Line, ownKinds, type RecordText, type Scan, scanFile, schemaVersion } from "./format.ts";
import type { WorkerData } from "./messages.ts";
import type { JournalOpening, StoredRecord } from "./types.ts";

/** How many cut tails are kept aside. */
const tornKept = 10;

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
export async function openFiles(source: HeaderSource, at: string): Promise<Opened> {
  mkdirSync(source.directory, { recursive: true, mode: 0o700 });
  const generations = listGenerations(source.directory);
  const newest = generations.at(-1);
  if (newest === undefined) return createGeneration(source, 1, at, { lines: [], snapshot: undefined });
  const scan = scanGeneration(source.directory, newest);
  let opened: Opened;
  if (scan.state === "damaged" || scan.header?.data["agentId"] !== source.agentId) {
    opened = await salvage(source, at, generations, scan);
  } else {
    opened = await openIntact(source, newest, scan, at);
  }
  removeLeftovers(source.directory);
  return opened;
}

export function generationPath(directory: string, generation: number): string {
  return join(directory, `journal.${String(generation).padStart(8, "0")}.log`);
}

/** Generations that have a file, oldest first. */
export function listGenerations(directory: string): readonly number[] {
  const found: number[] = [];
  for (const name of readdirSync(directory)) {
    const match = /^journal\.(\d{8})\.log$/.exec(name);
    if (match) found.push(Number(match[1]));
  }
  return found.sort((a, b) => a - b);
}

function scanGeneration(directory: string, generation: number): Scan {
  const path = generationPath(directory, generation);
  const scan = scanFile(path);
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

async function openIntact(source: HeaderSource, generation: number, scan: Scan, at: string): Promise<Opened> {
  const path = generationPath(source.directory, generation);
  const repair = scan.state === "torn" ? await cutTail(path, scan, at) : earlierSalvage(scan);
  return {
    generation,
    file: openSync(path, "r+"),
    end: scan.goodEnd,
    headerBytes: scan.headerBytes,
    lastSeq: scan.records.at(-1)?.seq ?? scan.header?.seq ?? 0,
    recordCount: scan.records.length,
    snapshot: snapshotOf(scan),
    records: agentRecords(scan.records),
    repair,
  };
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

async function cutTail(path: string, scan: Scan, at: string): Promise<JournalOpening["repair"]> {
  const aside = `${path}.torn-${at.replaceAll(":", "")}`;
  const file = openSync(path, "r+");
  try {
    const tail = Buffer.alloc(scan.bytes - scan.goodEnd);
    readSync(file, tail, 0, tail.length, scan.goodEnd);
    keepAside(aside, tail);
    await failpoint("journal.before-cut");
    ftruncateSync(file, scan.goodEnd);
    fdatasyncSync(file);
    await failpoint("journal.after-cut");
  } finally {
    closeSync(file);
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
function keepAside(path: string, tail: Buffer): void {
  try {
    const file = openSync(path, "w", 0o600);
    try {
      writeSync(file, tail);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  } catch {
    rmSync(path, { force: true });
  }
}

/**
 * Rebuilds from the newest intact snapshot and every intact record after it, in a new generation; only then the damaged
 * files are moved aside.
 */
async function salvage(
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
      const scan = scanGeneration(source.directory, older);
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
  const opened = await createGeneration(source, newest + 1, at, { lines: [...lines, told], snapshot });
  await failpoint("journal.before-move-aside");
  for (const generation of damaged) {
    const from = generationPath(source.directory, generation);
    renameSync(from, generation === newest ? aside : `${from}.damaged-${at.replaceAll(":", "")}`);
  }
  syncDirectory(source.directory);
  await failpoint("journal.after-move-aside");
  return { ...opened, repair: { kind: "salvage", message, keptAside: aside } };
}

/** Writes a whole generation under a temporary name, syncs it, gives it its name and syncs the directory. */
async function createGeneration(
  source: HeaderSource,
  generation: number,
  at: string,
  content: { readonly lines: readonly Line[]; readonly snapshot: JsonObject | undefined },
): Promise<Opened> {
  const first = 1 + Math.max(0, ...lastSeqs(content.lines));
  const header = headerLine(source, generation, first, at, JSON.stringify(content.snapshot));
  const lines = content.lines.map((line, index): Line => ({ ...withoutGroup(line), seq: first + 1 + index }));
  const body = lines.map((line) => encodeLine({ ...line, data: JSON.stringify(line.data), left: 0 }));
  const file = await placeGeneration(source.directory, generation, Buffer.concat([header, ...body]));
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
  directory: string,
  generation: number,
  content: Buffer,
): Promise<{ readonly descriptor: number; readonly bytes: number }> {
  const path = generationPath(directory, generation);
  const temporary = `${path}.tmp`;
  const descriptor = openSync(temporary, "w+", 0o600);
  try {
    await failpoint("journal.before-snapshot-write");
    for (let done = 0; done < content.length;)
      done += writeSync(descriptor, content, done, content.length - done, done);
    fdatasyncSync(descriptor);
    await failpoint("journal.before-rename");
    renameSync(temporary, path);
  } catch (error) {
    closeSync(descriptor);
    rmSync(temporary, { force: true });
    throw error;
  }
  await failpoint("journal.after-rename");
  syncDirectory(directory);
  return { descriptor, bytes: content.length };
}

export function syncDirectory(directory: string): void {
  const handle = openSync(directory, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

function removeLeftovers(directory: string): void {
  const torn: string[] = [];
  for (const name of readdirSync(directory)) {
    if (/^journal\.\d{8}\.log\.tmp$/.test(name)) rmSync(join(directory, name), { force: true });
    if (/^journal\.\d{8}\.log\.torn-/.test(name)) torn.push(name);
  }
  for (const name of torn.sort().slice(0, -tornKept)) rmSync(join(directory, name), { force: true });
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
