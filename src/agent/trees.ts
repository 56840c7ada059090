/** Runs in the thread for files: its calls wait, but for syncs, of which many go together. */
import { mkdirSync, opendirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { errnoOf } from "../common/fault.ts";
import { removeTree } from "../common/files.ts";
import { durableReplaceHere, syncDirectoryTogether } from "../common/files-here.ts";

export interface Tree {
  /** Absolute, as all paths. */
  readonly root: string;
  /** Directories below it, those above first. */
  readonly below: readonly string[];
  /** A file in `root`. */
  readonly marker: { readonly path: string; readonly text: string };
}

/** Makes directories (0700) and a marker; repeatable. The marker, and that they are there, is durable when it ends. */
export async function makeTree({ root, below, marker }: Tree): Promise<void> {
  makeDirectory(root);
  for (const path of below) makeDirectory(path);
  await durableReplaceHere(marker.path, marker.text);
  await syncDirectoryTogether(dirname(root));
}

/** Cheaper than a recursive `mkdir`, which walks up the whole path; that is for the first time. */
function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (errnoOf(error) === "ENOENT") mkdirSync(path, { recursive: true, mode: 0o700 });
    else if (errnoOf(error) !== "EEXIST") throw error;
  }
}

/** What is removed in one go; meanwhile the thread does nothing else. */
const mostAtOnce = 500;

/** Removes a tree: a small one at once, a large one bit by bit, so that nobody waits for it. What is not there is no error. */
export async function removeWhole(path: string): Promise<void> {
  if (entriesIn(path, mostAtOnce) < mostAtOnce) {
    try {
      rmSync(path, { recursive: true, force: true });
      return;
    } catch {
      // Permissions are in the way, most likely: as for a large one.
    }
  }
  await removeTree(path);
}

/** Counts up to `most`. */
function entriesIn(root: string, most: number): number {
  const look = [root];
  let count = 0;
  for (let path = look.pop(); path !== undefined && count < most; path = look.pop()) {
    try {
      using directory = opendirSync(path);
      for (let entry = directory.readSync(); entry !== null && count < most; entry = directory.readSync()) {
        count++;
        if (entry.isDirectory()) look.push(join(path, entry.name));
      }
    } catch {
      // gone, or not to be read: its removal will tell
    }
  }
  return count;
}
