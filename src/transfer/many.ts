/**
 * Files of a list, looked at and given their names in the thread for transfers: calls block here. Confined as in `paths.ts`:
 * directories are walked by open handles, links are not followed.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  unlinkSync,
} from "node:fs";
import { failpoint } from "../common/failpoint.ts";
import { errnoOf } from "../common/fault.ts";
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

const directoryFlags = constants.O_RDONLY | constants.O_DIRECTORY;
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
  using sources = new Directories(directory, false);
  using targets = new Directories(root, true);
  const failed: NotRenamed[] = [];
  if (renamings.length < manyNames || !syncAll(directory)) {
    for (const { from } of renamings) syncOne(sources.at(from), fileFlags);
  }
  for (const [index, { from, to }] of renamings.entries()) {
    await failpoint("transfer.before-rename");
    try {
      renameSync(sources.at(from), targets.at(to));
    } catch (error) {
      failed.push({ index, problem: messageOf(error), errno: errnoOf(error) });
    }
    await failpoint("transfer.after-rename");
  }
  if (targets.opened < manyNames || !syncAll(root)) targets.sync();
  await failpoint("transfer.after-directory-sync");
  return failed;
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

/** Everything that was written to the file system of `directory`. False where the program for it is not there, or is another one. */
function syncAll(directory: string): boolean {
  return spawnSync("sync", ["-f", directory], { stdio: "ignore" }).status === 0;
}

function syncOne(path: string, flags: number): void {
  const handle = openSync(path, flags);
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/** Of directories; files of one list mostly lie in few of them. */
const mostHandles = 256;

/** Open directories below a root, each opened once as long as there are not too many. */
class Directories implements Disposable {
  readonly #create: boolean;
  readonly #handles = new Map<string, number>();
  readonly #missing = new Set<string>();
  readonly #root: number;

  constructor(root: string, create: boolean) {
    this.#create = create;
    this.#root = openSync(root, directoryFlags);
  }

  get opened(): number {
    return this.#handles.size + 1;
  }

  /** A path that leads to `path` and nowhere else; valid until the next one is asked for. */
  at(path: string): string {
    if (this.#handles.size > mostHandles) this.#close();
    return this.#below(path);
  }

  sync(): void {
    for (const handle of [this.#root, ...this.#handles.values()]) fsyncSync(handle);
  }

  [Symbol.dispose](): void {
    for (const handle of [this.#root, ...this.#handles.values()]) closeSync(handle);
  }

  #close(): void {
    for (const handle of this.#handles.values()) {
      if (this.#create) fsyncSync(handle);
      closeSync(handle);
    }
    this.#handles.clear();
  }

  #below(path: string): string {
    const cut = path.lastIndexOf("/");
    return `/proc/self/fd/${cut < 0 ? this.#root : this.#open(path.slice(0, cut))}/${path.slice(cut + 1)}`;
  }

  #open(path: string): number {
    const known = this.#handles.get(path);
    if (known !== undefined) return known;
    if (this.#missing.has(path)) throw Object.assign(new Error("it is not there"), { code: "ENOENT" });
    const name = this.#below(path);
    try {
      if (this.#create) mkdirSync(name);
    } catch (error) {
      if (errnoOf(error) !== "EEXIST") throw error;
    }
    try {
      const handle = openSync(name, directoryFlags | constants.O_NOFOLLOW);
      this.#handles.set(path, handle);
      return handle;
    } catch (error) {
      if (errnoOf(error) === "ENOENT") this.#missing.add(path);
      throw error;
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
