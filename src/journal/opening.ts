import { dirname, join } from "node:path";
import { failpoint } from "../common/failpoint.ts";
import { type Disk, writeAll } from "./disk.ts";
import type { Scan } from "./format.ts";
import {
  createGeneration,
  generationPath,
  type HeaderSource,
  listGenerations,
  noLines,
  type Opened,
  scanGeneration,
} from "./generations.ts";
import { type Reader, readOwn } from "./reader.ts";
import { salvage } from "./salvage.ts";
import type { JournalOpening } from "./types.ts";

/** How many cut tails are kept aside. */
const tornKept = 10;
/** Of one write of a file that is written anew. */
const rewriteBytes = 1024 * 1024;

/**
 * Finds the newest generation, repairs what a crash or a bad disk left, and opens it; what it holds goes to the reader. Nothing is changed
 * before all files are read, so that a journal of a newer siteagent stays as it is.
 * @throws Fault JOURNAL_VERSION
 */
export async function openFiles(disk: Disk, source: HeaderSource, at: string, reader: Reader): Promise<Opened> {
  disk.makeDirectory(source.directory);
  const generations = listGenerations(disk, source.directory);
  const newest = generations.at(-1);
  if (newest === undefined) {
    syncAncestors(disk, source.directory);
    reader.begin(undefined);
    return await createGeneration(disk, source, 1, at, { first: 1, lines: noLines, state: undefined });
  }
  const scan = await scanGeneration(disk, source.directory, newest, readOwn(source, reader));
  let opened: Opened;
  if (scan.state === "damaged" || scan.header?.data["agentId"] !== source.agentId) {
    opened = await salvage(disk, source, at, { generations, newest: scan, reader });
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
    lastSeq: scan.lastSeq,
    recordCount: scan.records,
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
function earlierSalvage({ salvaged }: Scan): JournalOpening["repair"] {
  if (!salvaged) return { kind: "none" };
  const { message, keptAside } = salvaged;
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

function removeLeftovers(disk: Disk, directory: string): void {
  const torn: string[] = [];
  for (const name of disk.list(directory)) {
    if (/^journal\.\d{8}\.log\.tmp$/.test(name)) disk.remove(join(directory, name));
    if (/^journal\.\d{8}\.log\.torn-/.test(name)) torn.push(name);
  }
  for (const name of torn.sort().slice(0, -tornKept)) disk.remove(join(directory, name));
}
