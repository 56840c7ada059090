/** The files of a cache on the disk: their names are their digests, what is not complete lies elsewhere. */
import { constants } from "node:fs";
import { copyFile, type FileHandle, link, lstat, mkdir, open, readdir, rename, rm, utimes } from "node:fs/promises";
import { dirname, join } from "node:path";
import { createHash, randomUUID } from "../../common/crypto.ts";
import { failpoint } from "../../common/failpoint.ts";
import { errnoOf } from "../../common/fault.ts";
import { digestMismatch, isFull, transferFault } from "../errors.ts";
import { digestOf, readPieces } from "../landing.ts";
import type { OpenDirectory } from "../paths.ts";
import type { FileContent } from "../types.ts";
import type { CachePlaces } from "./directory.ts";

/** How a file comes from the cache into a job's directory: `link` where the file system can, else as `copy`. */
export type Placing = "copy" | "link";

/** Makes `to` share the blocks of `from`, copied when one of them is written to; throws where the file system cannot. */
export type Clone = (from: string, to: string) => Promise<void>;

export const cloneFile: Clone = (from, to) =>
  copyFile(from, to, constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL);

/** An open file and the name that it has. */
export interface NamedFile {
  readonly handle: FileHandle;
  readonly directory: OpenDirectory;
  readonly name: string;
}

/** What is known of an object without opening it. */
export interface StoredObject {
  readonly sha256: string;
  readonly bytes: number;
  /** Milliseconds since 1970. */
  readonly usedAt: number;
  /** Other names than ours: jobs that have it as a hard link. */
  readonly links: number;
}

/** What a file system answers that has no links here. */
const noLink = new Set(["EXDEV", "EPERM", "EMLINK", "ENOTSUP", "EOPNOTSUPP"]);
const linkedMode = 0o444;

export class Objects {
  readonly #places: CachePlaces;
  readonly #clone: Clone;
  /** False as soon as the file system said that it cannot. */
  #clones = true;

  constructor(places: CachePlaces, clone: Clone) {
    this.#places = places;
    this.#clone = clone;
  }

  path(sha256: string): string {
    return join(this.#places.objects, sha256.slice(0, 2), sha256);
  }

  async find(sha256: string): Promise<StoredObject | undefined> {
    try {
      const { size, atimeMs, nlink } = await lstat(this.path(sha256));
      return { sha256, bytes: size, usedAt: atimeMs, links: nlink - 1 };
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return undefined;
      throw error;
    }
  }

  /** Shares the blocks of an open file with the new file `to`; false where that cannot be. A full disk is thrown. */
  async clone(from: FileHandle, to: string): Promise<boolean> {
    if (!this.#clones) return false;
    try {
      await this.#clone(`/proc/self/fd/${from.fd}`, to);
      return true;
    } catch (error) {
      await rm(to, { force: true });
      if (isFull(transferFault(error, "a file of the cache"))) throw error;
      this.#clones = false;
      return false;
    }
  }

  /**
   * Takes up a complete file that has this content, which is compared on the way.
   * @throws Fault DIGEST_MISMATCH, CANCELLED; system errors as Node gives them.
   */
  async add(file: NamedFile, content: FileContent, placing: Placing, signal: AbortSignal): Promise<void> {
    const unfinished = join(this.#places.unfinished, randomUUID());
    try {
      if (!(placing === "link" && (await this.#link(file, unfinished)))) {
        await this.#copy(file.handle, unfinished, content.sha256, signal);
      }
      await mkdir(dirname(this.path(content.sha256)), { recursive: true, mode: 0o700 });
      await failpoint("cache.before-name");
      await rename(unfinished, this.path(content.sha256));
      await failpoint("cache.after-name");
    } finally {
      await rm(unfinished, { force: true }); // also what a rename onto another link of the same file leaves
    }
  }

  /** Notes that it was used now. Its time of change stays: manifests of jobs that have it as a link name that. */
  async touch(sha256: string, now: number): Promise<void> {
    const path = this.path(sha256);
    const { mtime } = await lstat(path);
    await utimes(path, new Date(now), mtime);
  }

  async remove(sha256: string): Promise<void> {
    await rm(this.path(sha256), { force: true });
  }

  /** In no order. What is no object of ours is left alone. */
  async *all(): AsyncGenerator<StoredObject> {
    for await (const name of namesIn(this.#places.objects, /^[0-9a-f]{64}$/)) {
      const found = await this.find(name);
      if (found) yield found;
    }
  }

  /** Names of remembered facts. */
  facts(): AsyncGenerator<string> {
    return namesIn(this.#places.facts, /^[0-9a-f]{64}$/);
  }

  /** Removes what a process that was killed has left. */
  async removeUnfinished(): Promise<void> {
    for (const name of await readdir(this.#places.unfinished)) await rm(join(this.#places.unfinished, name));
  }

  /** A second name for a job's own file, which from then on nobody is to write to; false where there are no links. */
  async #link({ handle, directory, name }: NamedFile, to: string): Promise<boolean> {
    try {
      await link(directory.at(name), to);
    } catch (error) {
      if (noLink.has(errnoOf(error) ?? "")) return false;
      throw error;
    }
    const [made, meant] = await Promise.all([lstat(to), handle.stat()]);
    if (made.ino !== meant.ino || made.dev !== meant.dev)
      throw new Error(`'${name}' is another file than was verified`);
    await handle.chmod(linkedMode);
    return true;
  }

  async #copy(from: FileHandle, to: string, sha256: string, signal: AbortSignal): Promise<void> {
    if (await this.clone(from, to)) {
      await using clone = await open(to, "r");
      checkDigest(to, sha256, (await digestOf(clone, signal)).sha256);
      return;
    }
    const hash = createHash("sha256");
    await using copy = await open(to, "wx", 0o644);
    for await (const piece of readPieces(from, 0, signal)) {
      hash.update(piece);
      for (let done = 0; done < piece.byteLength;) done += (await copy.write(piece, done)).bytesWritten;
    }
    checkDigest(to, sha256, hash.digest("hex"));
  }
}

function checkDigest(what: string, expected: string, actual: string): void {
  if (actual !== expected) throw digestMismatch(what, expected, actual);
}

/** Another name for an object, in a job's directory; false where there are no links between the two. */
export async function linkObject(object: string, to: string): Promise<boolean> {
  await rm(to, { force: true });
  try {
    await link(object, to);
    return true;
  } catch (error) {
    // Or it was removed since it was opened.
    if (noLink.has(errnoOf(error) ?? "") || errnoOf(error) === "ENOENT") return false;
    throw error;
  }
}

async function* namesIn(directory: string, wanted: RegExp): AsyncGenerator<string> {
  for (const part of await readdir(directory)) {
    if (!/^[0-9a-f]{2}$/.test(part)) continue;
    for (const name of await readdir(join(directory, part))) if (wanted.test(name)) yield name;
  }
}
