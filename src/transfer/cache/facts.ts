/** What is remembered of sources: that a version of a URL had a digest. */
import { createHash } from "node:crypto";
import { lstat, mkdir, readlink, rename, rm, symlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { errnoOf } from "../../common/fault.ts";
import { randomUUID } from "../../common/crypto.ts";
import type { FileContent, RemoteFile } from "../types.ts";

/** A time of change must be so long past before a version that rests on it is believed: clocks are coarse, and differ. Milliseconds. */
const settledMs = 10_000;

/** Names a version of a file; undefined where the source tells none. URLs may hold signatures: only their digest is kept. */
export function factKey(url: string, file: RemoteFile): string | undefined {
  if (file.version === undefined) return undefined;
  const parts = [url, file.path, file.version, String(file.bytes ?? "")];
  return createHash("sha256").update(parts.join("\0")).digest("hex");
}

/** Whether a change that came after the file was read would have changed its version. */
export function isSettled(file: RemoteFile, now: number): boolean {
  return file.mtimeMs === undefined || now - file.mtimeMs >= settledMs;
}

/**
 * One symbolic link a fact, to a name that says digest and size and is no file: made in one step, whole or not at all, without a
 * block of its own.
 */
export class Facts {
  readonly #directory: string;
  readonly #unfinished: string;

  constructor(directory: string, unfinished: string) {
    this.#directory = directory;
    this.#unfinished = unfinished;
  }

  async find(key: string): Promise<FileContent | undefined> {
    try {
      return contentOf(await readlink(this.#path(key)));
    } catch (error) {
      if (["ENOENT", "EINVAL"].includes(errnoOf(error) ?? "")) return undefined;
      throw error;
    }
  }

  async remember(key: string, { sha256, bytes }: FileContent): Promise<void> {
    const known = await this.find(key);
    if (known?.sha256 === sha256 && known.bytes === bytes) return;
    const made = join(this.#unfinished, randomUUID());
    await symlink(`${sha256}-${bytes}`, made);
    try {
      await mkdir(dirname(this.#path(key)), { recursive: true, mode: 0o700 });
      await rename(made, this.#path(key));
    } catch (error) {
      await rm(made, { force: true });
      throw error;
    }
  }

  /** Forgets the fact in file `name` when the content that it speaks of is gone. */
  async prune(name: string, isThere: (sha256: string) => Promise<boolean>): Promise<void> {
    const path = this.#path(name);
    const content = await this.find(name);
    if (content !== undefined && (await isThere(content.sha256))) return;
    if ((await lstat(path)).isSymbolicLink()) await rm(path, { force: true });
  }

  #path(key: string): string {
    return join(this.#directory, key.slice(0, 2), key);
  }
}

function contentOf(text: string): FileContent | undefined {
  const match = /^([0-9a-f]{64})-([0-9]{1,16})$/.exec(text);
  return match?.[1] === undefined ? undefined : { sha256: match[1], bytes: Number(match[2]) };
}
