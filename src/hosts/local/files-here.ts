/** Files below a workdir of this machine, in the thread for files (file-thread.ts): a call there costs a tenth of Node's promises about files. */
import { closeSync, fstatSync, lstatSync, mkdirSync, readdirSync, readSync, type Stats, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { errnoOf, Fault } from "../../common/fault.ts";
import { removeTree } from "../../common/files.ts";
import { durableReplaceHere, openPlainFileHere } from "../../common/files-here.ts";
import { confined, linkInPath } from "../confine.ts";
import type { FileStat } from "../types.ts";

const absent: readonly (string | undefined)[] = ["ENOENT", "ENOTDIR"];

export function read(
  workdir: string,
  path: string,
  { offset = 0, maxBytes }: { readonly offset?: number; readonly maxBytes: number },
): Uint8Array | undefined {
  return below(workdir, path, () => {
    const file = openPlainFileHere(path);
    if (file === undefined) return undefined;
    try {
      // Its own memory: it goes to another thread.
      const bytes = new Uint8Array(Math.max(0, Math.min(maxBytes, fstatSync(file).size - offset)));
      let filled = 0;
      while (filled < bytes.byteLength) {
        const count = readSync(file, bytes, filled, bytes.byteLength - filled, offset + filled);
        if (count === 0) break;
        filled += count;
      }
      return filled === bytes.byteLength ? bytes : bytes.slice(0, filled);
    } finally {
      closeSync(file);
    }
  });
}

export async function write(
  workdir: string,
  path: string,
  content: string | Uint8Array,
  options: { readonly mode: number },
): Promise<void> {
  await belowLater(workdir, path, () => durableReplaceHere(path, content, options.mode));
}

export function stat(workdir: string, path: string): FileStat | undefined {
  return below(workdir, path, () => {
    const stats = look(path);
    if (!stats) return undefined;
    return { type: typeOf(stats), bytes: stats.size, mtimeMs: stats.mtimeMs, mode: stats.mode & 0o7777 };
  });
}

export function mkdir(workdir: string, path: string, options: { readonly mode?: number }): boolean {
  const mode = options.mode ?? 0o700;
  return below(workdir, path, () => {
    mkdirSync(dirname(path), { recursive: true, mode });
    try {
      mkdirSync(path, { mode });
      return true;
    } catch (error) {
      const stats = path === workdir ? statSync(path) : lstatSync(path);
      if (errnoOf(error) !== "EEXIST" || !stats.isDirectory()) throw error;
      return false;
    }
  });
}

export function list(workdir: string, path: string): readonly string[] | undefined {
  return below(workdir, path, () => {
    if (path !== workdir && look(path)?.isDirectory() !== true) return undefined;
    try {
      return readdirSync(path);
    } catch (error) {
      if (absent.includes(errnoOf(error))) return undefined;
      throw error;
    }
  });
}

export async function remove(workdir: string, path: string): Promise<void> {
  await belowLater(workdir, path, async () => {
    try {
      await removeTree(path);
    } catch (error) {
      if (errnoOf(error) !== "ENOTDIR") throw error; // a file where its directory should be: nothing is there
    }
  });
}

function below<Value>(workdir: string, path: string, work: () => Value): Value {
  confined(workdir, path);
  try {
    refuseLinks(workdir, path);
    return work();
  } catch (error) {
    throw told(path, error);
  }
}

async function belowLater<Value>(workdir: string, path: string, work: () => Promise<Value>): Promise<Value> {
  confined(workdir, path);
  try {
    refuseLinks(workdir, path);
    return await work();
  } catch (error) {
    throw told(path, error);
  }
}

function told(path: string, error: unknown): Fault {
  if (error instanceof Fault) return error;
  return new Fault("TRANSFER", `'${path}': ${error instanceof Error ? error.message : String(error)}`, {
    cause: error,
  });
}

/** Of the names between the workdir and the last one, none may be a link: jobs can make them. */
function refuseLinks(workdir: string, path: string): void {
  const names = dirname(path)
    .slice(workdir.length + 1)
    .split("/");
  for (const index of path === workdir || names[0] === "" ? [] : names.keys()) {
    const place = join(workdir, ...names.slice(0, index + 1));
    const stats = look(place);
    if (!stats) return;
    if (stats.isSymbolicLink()) throw linkInPath(path, place);
  }
}

/** Of the name itself; undefined = not there. */
function look(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch (error) {
    if (errnoOf(error) === "ENOTDIR") return undefined;
    throw error;
  }
}

function typeOf(stats: Stats): FileStat["type"] {
  if (stats.isFile()) return "file";
  if (stats.isDirectory()) return "directory";
  return stats.isSymbolicLink() ? "link" : "other";
}
