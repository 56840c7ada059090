/** Runs in the thread for files: its calls wait, but for syncs, of which many go together. */
import { spawnSync } from "node:child_process";
import { lstatSync, mkdirSync, readdirSync, rmdirSync, statfsSync, unlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { errnoOf } from "../common/fault.ts";
import { removeTree } from "../common/files.ts";
import { durableReplaceHere, durableWriteHere, syncDirectoryTogether } from "../common/files-here.ts";

export interface Tree {
  /** Absolute, as all paths. */
  readonly root: string;
  /** Directories below it, those above first. */
  readonly below: readonly string[];
  /** A file in `root`. */
  readonly marker: { readonly path: string; readonly text: string };
}

/**
 * Makes directories (0700) and a marker; repeatable. The marker, and that they are there, is durable when it ends. One that a crash cut short
 * is replaced when the tree is made again: until then nothing has begun below it.
 */
export async function makeTree({ root, below, marker }: Tree): Promise<void> {
  const isNew = makeDirectory(root);
  spreadOut(dirname(root));
  for (const path of below) makeDirectory(path);
  // All that is new goes to the disk with the marker: a name that changes after that would have to follow.
  if (isNew) await durableWriteHere(marker.path, marker.text);
  else await durableReplaceHere(marker.path, marker.text);
  await syncDirectoryTogether(dirname(root));
}

const ext4 = 0xef53;
const spread = new Set<string>();

/**
 * Has ext4 put each directory below `directory` into a block group of its own (chattr(1), attribute T). It does not use the number of a
 * deleted file again for a minute and more, so where all jobs share a group each new file is looked for past those of all jobs before
 * it: with short jobs that costs more than all else. Where it cannot be set things are as they were.
 */
function spreadOut(directory: string): void {
  if (spread.has(directory)) return;
  spread.add(directory);
  if (statfsSync(directory).type === ext4) spawnSync("chattr", ["+T", "--", directory], { stdio: "ignore" });
}

/** Cheaper than a recursive `mkdir`, which walks up the whole path; that is for the first time. False when it was there. */
function makeDirectory(path: string): boolean {
  try {
    mkdirSync(path, { mode: 0o700 });
    return true;
  } catch (error) {
    if (errnoOf(error) === "EEXIST") return false;
    if (errnoOf(error) !== "ENOENT") throw error;
    return mkdirSync(path, { recursive: true, mode: 0o700 }) !== undefined;
  }
}

/** What is removed in one go; meanwhile the thread does nothing else. */
const mostAtOnce = 500;

/** Removes a tree: a small one at once, a large one bit by bit, so that nobody waits for it. What is not there is no error. */
export async function removeWhole(path: string): Promise<void> {
  try {
    // A link in its place goes, and not what it leads to.
    if (lstatSync(path).isDirectory() && removeSmall(path, { entries: mostAtOnce })) return;
  } catch {
    // Not there, or permissions are in the way: as for a large one.
  }
  await removeTree(path);
}

/** One walk that counts and removes. False when more was there than it may take: the rest is left. */
function removeSmall(directory: string, left: { entries: number }): boolean {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (left.entries-- <= 0) return false;
    const path = join(directory, entry.name);
    if (!entry.isDirectory()) unlinkSync(path);
    else if (!removeSmall(path, left)) return false;
  }
  rmdirSync(directory);
  return true;
}
