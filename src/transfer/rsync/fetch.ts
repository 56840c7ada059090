/** Brings files of a source here by rsync. */
import { lstat, rename } from "node:fs/promises";
import { join, posix } from "node:path";
import { inChunks } from "../../common/chunks.ts";
import { asFault, errnoOf } from "../../common/fault.ts";
import { arrivalPath } from "../bulk.ts";
import { advanced, missingSource, throwIfStopped } from "../errors.ts";
import { progressBytes } from "../fetch.ts";
import { relativeSegments, unsafe } from "../paths.ts";
import type { TransferPolicy } from "../policy.ts";
import { fileOf, type FindAccess, look, type Place, placeOf, versionOf } from "../sftp/place.ts";
import { sftpFault } from "../sftp/faults.ts";
import { splitPattern } from "../tree.ts";
import type { RemoteFile, TransferContext } from "../types.ts";
import { isPattern } from "../urls.ts";
import { rsyncFault } from "./faults.ts";
import { commonOptions, partialDirectory } from "./options.ts";
import { runRsync } from "./program.ts";
import type { RsyncVersions } from "./versions.ts";

/** Files that are looked at, there or here, at the same time. */
const atOnce = 64;

export interface RsyncDeps {
  readonly policy: TransferPolicy;
  readonly find: FindAccess;
  readonly versions: RsyncVersions;
}

/** @throws Fault as `BulkTransfer.fetch` says. */
export async function fetchByRsync(
  deps: RsyncDeps,
  url: string,
  files: readonly RemoteFile[],
  directory: string,
  arrived: (file: RemoteFile) => Promise<void>,
  context: TransferContext,
): Promise<void> {
  const place = placeOf(url, "sources", deps.policy, deps.find);
  await deps.versions.here();
  await deps.versions.there(place.access, context);
  const fetching = new Fetching(place, directory, arrived, context);
  try {
    await fetching.run(files);
  } catch (error) {
    throw sftpFault(error, place.what);
  }
}

class Fetching {
  readonly #place: Place;
  readonly #directory: string;
  readonly #arrived: (file: RemoteFile) => Promise<void>;
  readonly #context: TransferContext;
  /** Those that have not arrived, by the name that rsync knows. */
  readonly #left = new Map<string, RemoteFile>();
  #partial = "";

  constructor(place: Place, directory: string, arrived: (file: RemoteFile) => Promise<void>, context: TransferContext) {
    this.#place = place;
    this.#directory = directory;
    this.#arrived = arrived;
    this.#context = context;
  }

  async run(files: readonly RemoteFile[]): Promise<void> {
    const there = await this.#start(files);
    this.#partial = partialDirectory([...this.#left.keys()]);
    await this.#takeComplete();
    if (this.#left.size === 0) return;
    const before = await this.#bytesHere();
    try {
      await this.#rsync(there);
    } catch (error) {
      throwIfStopped(this.#context.signal);
      const further = (await this.#bytesHere()) - before;
      throw further >= progressBytes ? advanced(asFault(error)) : error;
    }
  }

  /** Directory there; chooses what is still as it was listed. */
  async #start(files: readonly RemoteFile[]): Promise<string> {
    const { segments, what } = this.#place;
    const [single] = files;
    if (single && files.length === 1 && single.path === "") {
      const found = await this.#look(single);
      if (!found) throw missingSource(what);
      this.#choose(posix.basename(found.real), single, found);
      return posix.dirname(found.real);
    }
    const base = segments.some(isPattern) ? splitPattern(segments).base : segments;
    const top = await look(this.#place, `/${base.join("/")}`, this.#context);
    if (!top?.stats.isDirectory()) throw missingSource(what);
    for (const some of inChunks(files, atOnce)) {
      const found = await Promise.all(some.map((file) => this.#look(file)));
      for (const [index, file] of some.entries()) this.#choose(file.path, file, found[index]);
    }
    return top.real;
  }

  /** What lies there now; its links stay in what the policy names. */
  #look(file: RemoteFile): Promise<Awaited<ReturnType<typeof look>>> {
    const own = fileOf(this.#place, file);
    return look(own, own.path, this.#context);
  }

  /** One that changed since it was listed is left out: the engine lists anew. */
  #choose(name: string, file: RemoteFile, found: Awaited<ReturnType<typeof look>>): void {
    const { what } = this.#place;
    relativeSegments(name, `source ${what}:`);
    if (!found) return;
    if (!found.stats.isFile()) throw unsafe("remote path", `${what.slice(1, -1)} ${name}`, "it is no regular file");
    if (file.version !== undefined && versionOf(found.stats) !== file.version) return;
    this.#left.set(name, file);
  }

  /** What an earlier try has brought whole; its digest tells whether it is. */
  async #takeComplete(): Promise<void> {
    for (const some of inChunks([...this.#left], atOnce)) {
      const promised = some.filter(([, { sha256 }]) => sha256 !== undefined);
      await Promise.all(promised.map(([name, file]) => this.#take(name, file)));
    }
  }

  async #rsync(there: string): Promise<void> {
    const { access, what } = this.#place;
    let done: Promise<void> = Promise.resolve();
    let last: string | undefined;
    const onName = (name: string): void => {
      // rsync tells of a file before it gives it its name: the one before that has it.
      const [previous, file] = [last, last === undefined ? undefined : this.#left.get(last)];
      last = name;
      if (previous !== undefined && file?.sha256 !== undefined) done = done.then(() => this.#take(previous, file));
      done.catch(() => undefined);
    };
    const end = await runRsync(
      access,
      {
        args: [...commonOptions(this.#partial), "--times", "--chmod=D755,F644", "there:.", "."],
        here: this.#directory,
        there,
        names: [...this.#left.keys()],
        onName,
      },
      this.#context,
    );
    await done;
    await this.#takeRest();
    const fault = rsyncFault(end, what);
    if (fault) throw fault;
  }

  /** Files without a digest have arrived when they are still the listed ones after that. */
  async #takeRest(): Promise<void> {
    for (const some of inChunks([...this.#left], atOnce)) {
      throwIfStopped(this.#context.signal);
      await Promise.all(
        some.map(async ([name, file]) => {
          const now = file.sha256 === undefined ? await this.#look(file) : undefined;
          const same = now !== undefined && versionOf(now.stats) === file.version;
          if (file.sha256 !== undefined || same) await this.#take(name, file);
        }),
      );
    }
  }

  /** A file at its name here is whole; with the size and time of the listed one it is that one. */
  async #take(name: string, file: RemoteFile): Promise<void> {
    const path = join(this.#directory, name);
    const stats = await lstat(path).catch(ifMissing);
    if (!stats?.isFile() || (file.bytes !== undefined && stats.size !== file.bytes)) return;
    if (file.mtimeMs !== undefined && Math.trunc(stats.mtimeMs / 1000) !== Math.trunc(file.mtimeMs / 1000)) return;
    const wanted = arrivalPath(file);
    if (wanted !== name) await rename(path, join(this.#directory, wanted));
    this.#left.delete(name);
    await this.#arrived(file);
  }

  /** Of the files that have not arrived, whole or in part. */
  async #bytesHere(): Promise<number> {
    let bytes = 0;
    for (const some of inChunks([...this.#left.keys()], atOnce)) {
      const parts = some.map((name) => join(posix.dirname(name), this.#partial, posix.basename(name)));
      const found = await Promise.all(parts.map((part) => lstat(join(this.#directory, part)).catch(ifMissing)));
      for (const stats of found) bytes += stats?.size ?? 0;
    }
    return bytes;
  }
}

function ifMissing(error: unknown): undefined {
  if (!["ENOENT", "ENOTDIR"].includes(errnoOf(error) ?? "")) throw error;
}
