/**
 * Files of a list, looked at and given their names in the thread for transfers: calls block here. Confined as in `paths.ts`:
 * directories are walked by open handles, links are not followed.
 */
import { createHash } from "node:crypto";
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  lstatSync,
  openSync,
  readSync,
  renameSync,
  unlinkSync,
} from "node:fs";
import { dirname } from "node:path";
import { failpoint } from "../common/failpoint.ts";
import { errnoOf } from "../common/fault.ts";
import { Directories } from "./directories.ts";
import { syncFileSystem } from "./file-system-sync.ts";
import type { FileContent } from "./types.ts";

/** What lies at a path. */
export type Seen = Content | { readonly problem: string; readonly missing: boolean };

export interface Content extends FileContent {
  readonly mtimeMs: number;
  /** Names that lead to it. */
  readonly links: number;
}

export interface Measured {
  readonly bytes: number;
  readonly mtimeMs: number;
}

export interface Renaming {
  /** Relative to the directory in which it arrived. */
  readonly from: string;
  /** Relative to the root. */
  readonly to: string;
}

/** Why one renaming of a list could not be done. */
export interface NotRenamed {
  readonly index: number;
  readonly problem: string;
  readonly errno: string | undefined;
}

const fileFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const pieceBytes = 256 * 1024;
/** From so many on, one call for the whole file system takes less time than one for each. */
const manyNames = 16;

/** Size and digest of each regular file below `root`. */
export function examine(root: string, paths: readonly string[]): readonly Seen[] {
  using directories = new Directories(root, false);
  const buffer = Buffer.allocUnsafe(pieceBytes);
  return paths.map((path) => {
    try {
      return look(directories, path, buffer);
    } catch (error) {
      const errno = errnoOf(error);
      const missing = errno === "ENOENT";
      const problem =
        errno === "ELOOP" || errno === "ENOTDIR" ? "there is a symbolic link on its way" : messageOf(error);
      return { problem, missing };
    }
  });
}

/**
 * Makes the content of files in `directory` durable, gives each its final name below `root` (directories are made) and makes the
 * names durable. Returns those that could not be renamed.
 */
export async function settle(
  root: string,
  directory: string,
  renamings: readonly Renaming[],
): Promise<readonly NotRenamed[]> {
  const synced = renamings.length >= manyNames && (await syncFileSystem(directory));
  const failed = await giveNames(root, directory, renamings, synced);
  const refused = new Set(failed.map(({ index }) => index));
  const named = renamings.filter((_, index) => !refused.has(index)).map(({ to }) => to);
  const parents = new Set(named.map((path) => dirname(path)));
  if (!synced || parents.size < manyNames || !(await syncFileSystem(root))) syncParents(root, named);
  await failpoint("transfer.after-directory-sync");
  return failed;
}

async function giveNames(
  root: string,
  directory: string,
  renamings: readonly Renaming[],
  synced: boolean,
): Promise<readonly NotRenamed[]> {
  using sources = new Directories(directory, false);
  using targets = new Directories(root, true);
  const failed: NotRenamed[] = [];
  if (!synced) for (const { from } of renamings) syncOne(sources.at(from), fileFlags);
  for (const [index, { from, to }] of renamings.entries()) {
    await failpoint("transfer.before-rename");
    try {
      renameSync(sources.at(from), targets.at(to));
    } catch (error) {
      failed.push({ index, problem: messageOf(error), errno: errnoOf(error) });
    }
    await failpoint("transfer.after-rename");
  }
  return failed;
}

/** All directories that lead to the files. */
function syncParents(root: string, paths: readonly string[]): void {
  using directories = new Directories(root, false, true);
  for (const path of paths) directories.at(path);
  directories.sync();
}

/** Size and time of each file below `root`; undefined where there is none. */
export function measure(root: string, paths: readonly string[]): readonly (Measured | undefined)[] {
  using directories = new Directories(root, false);
  return paths.map((path) => {
    try {
      const { size, mtimeMs } = lstatSync(directories.at(path));
      return { bytes: size, mtimeMs };
    } catch {
      return undefined;
    }
  });
}

/** Removes files below `root`; those that are not there are no fault. */
export function discard(root: string, paths: readonly string[]): void {
  using directories = new Directories(root, false);
  for (const path of paths) {
    try {
      unlinkSync(directories.at(path));
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") throw error;
    }
  }
}

function look(directories: Directories, path: string, buffer: Buffer): Seen {
  const file = openSync(directories.at(path), fileFlags);
  try {
    const stats = fstatSync(file);
    if (!stats.isFile()) return { problem: "it is no regular file", missing: false };
    const hash = createHash("sha256");
    let bytes = 0;
    while (bytes < stats.size) {
      const count = readSync(file, buffer, 0, pieceBytes, bytes);
      if (count === 0) break;
      hash.update(buffer.subarray(0, count));
      bytes += count;
    }
    return { bytes, sha256: hash.digest("hex"), mtimeMs: stats.mtimeMs, links: stats.nlink };
  } finally {
    closeSync(file);
  }
}

function syncOne(path: string, flags: number): void {
  const handle = openSync(path, flags);
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
