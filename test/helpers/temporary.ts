import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A directory that ends with its scope: `await using directory = await temporaryDirectory()`. */
export interface TemporaryDirectory extends AsyncDisposable {
  readonly path: string;
  /** A path inside it. */
  join(...parts: readonly string[]): string;
}

/** All that this process ever made; the leak check looks for processes that live in them, also after their removal. */
const made: string[] = [];

/** A fresh empty directory (mode 0700) with a short path, removed with all content at the end of the scope, also on failure. */
export async function temporaryDirectory(prefix = "sa-", parent = tmpdir()): Promise<TemporaryDirectory> {
  const path = await mkdtemp(join(parent, prefix));
  made.push(path);
  return {
    path,
    join: (...parts) => join(path, ...parts),
    async [Symbol.asyncDispose]() {
      // Retries: a process that is just ending may still write its last file.
      await rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
    },
  };
}

/** The paths of all temporary directories that this process has made. */
export function madeTemporaryDirectories(): readonly string[] {
  return made;
}
