/**
 * What files.ts does, for a thread that may wait for the file system (file-thread.ts): each call is made at once, which costs a tenth. Only
 * syncs are left to Node's pool, so that those of many files overlap.
 */
import { closeSync, fstatSync, fsync, openSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { randomUUID } from "./crypto.ts";
import { isNoPlainFile, plainOpen } from "./files.ts";

const synced = promisify(fsync);

async function syncDirectory(directory: string): Promise<void> {
  const handle = openSync(directory, "r");
  try {
    await synced(handle);
  } finally {
    closeSync(handle);
  }
}

/** Directories with a sync that somebody waits for and that has not begun. */
const syncsToCome = new Map<string, Promise<void>>();
/** The last sync of a directory that has begun. */
const syncsUnderWay = new Map<string, Promise<void>>();

/** For a directory in which many make names at once: who comes during a sync shares the next one. */
export function syncDirectoryTogether(directory: string): Promise<void> {
  const known = syncsToCome.get(directory);
  if (known) return known;
  const before = syncsUnderWay.get(directory)?.catch(() => undefined) ?? Promise.resolve();
  const mine = before.then(async () => {
    syncsToCome.delete(directory);
    syncsUnderWay.set(directory, mine);
    try {
      await syncDirectory(directory);
    } finally {
      if (syncsUnderWay.get(directory) === mine) syncsUnderWay.delete(directory);
    }
  });
  syncsToCome.set(directory, mine);
  return mine;
}

/** As `durableReplace`. */
export async function durableReplaceHere(path: string, content: string | Uint8Array, mode = 0o600): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    await writeSynced(temporary, content, mode);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  await syncDirectory(dirname(path));
}

/** For a name in a directory that nobody else uses yet: after a crash it may be there in part. @throws EEXIST when it is there */
export async function durableWriteHere(path: string, content: string | Uint8Array, mode = 0o600): Promise<void> {
  await writeSynced(path, content, mode);
  await syncDirectory(dirname(path));
}

async function writeSynced(path: string, content: string | Uint8Array, mode: number): Promise<void> {
  const file = openSync(path, "wx", mode);
  try {
    writeFileSync(file, content);
    await synced(file);
  } finally {
    closeSync(file);
  }
}

/** As `openPlainFile`; a descriptor to be closed. */
export function openPlainFileHere(path: string): number | undefined {
  let file: number;
  try {
    file = openSync(path, plainOpen);
  } catch (error) {
    if (isNoPlainFile(error)) return undefined;
    throw error;
  }
  if (fstatSync(file).isFile()) return file;
  closeSync(file);
  return undefined;
}
