import { constants } from "node:fs";
import { chmod, type FileHandle, lstat, open, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { randomUUID } from "./crypto.ts";
import { errnoOf } from "./fault.ts";

/** Makes a rename or a new name in `directory` durable. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Replaces a file so that after a crash there is the old or the new content, never a part: temporary name in the same
 * directory, sync, rename, sync of the directory. The only way in which siteagent writes a file that must survive.
 */
export async function durableReplace(path: string, content: string | Uint8Array, mode = 0o600): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    const handle = await open(temporary, "wx", mode);
    try {
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncDirectory(dirname(path));
}

/** What `durableReplace` adds to a name while it writes. */
const unfinished = /^\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.tmp$/;

/**
 * Removes what `durableReplace` of this path left when its process was killed. Only for the one who may write the path now: the
 * replacement of another process that is still going on would fail.
 */
export async function removeUnfinished(path: string): Promise<void> {
  const [directory, name] = [dirname(path), basename(path)];
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    if (entry.isFile() && entry.name.startsWith(name) && unfinished.test(entry.name.slice(name.length)))
      await rm(join(directory, entry.name), { force: true });
  }
}

/** For files that a job may have made or put in the place of ours: a link is not followed, a fifo not waited for. */
export const plainOpen = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** True when an error of such an open says that there is no plain file. */
export function isNoPlainFile(error: unknown): boolean {
  return ["ENOENT", "ENOTDIR", "ELOOP", "ENXIO"].includes(errnoOf(error) ?? "");
}

/**
 * Opens for reading what a job or hook may have made or put in the place of ours: a link is not followed, a fifo not waited for (each
 * such wait would hold one of the process's few threads for ever). Undefined when there is no plain file.
 */
export async function openPlainFile(path: string): Promise<FileHandle | undefined> {
  let handle: FileHandle;
  try {
    handle = await open(path, plainOpen);
  } catch (error) {
    if (isNoPlainFile(error)) return undefined;
    throw error;
  }
  if ((await handle.stat()).isFile()) return handle;
  await handle.close();
  return undefined;
}

/** Programs leave directories without write permission behind: where those are in the way, permission is given first. Follows no link. */
export async function removeTree(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch (error) {
    if (errnoOf(error) !== "EACCES" && errnoOf(error) !== "EPERM") throw error;
    await openDirectories(path);
    await rm(path, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** What is gone meanwhile is well gone: the removal that failed goes on with other branches after it has said so. */
async function openDirectories(path: string): Promise<void> {
  try {
    if (!(await lstat(path)).isDirectory()) return;
    await chmod(path, 0o700);
    for (const entry of await readdir(path, { withFileTypes: true })) {
      if (entry.isDirectory()) await openDirectories(join(path, entry.name));
    }
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
  }
}
