import { link, lstat, rename, rm, symlink } from "node:fs/promises";
import type { CallContext } from "../common/context.ts";
import { failpoint } from "../common/failpoint.ts";
import { Fault, errnoOf, isFault } from "../common/fault.ts";
import {
  advanced,
  digestMismatch,
  isFull,
  isSourceChanged,
  sourceChanged,
  throwIfStopped,
  transferFault,
} from "./errors.ts";
import { digestOf, Landing } from "./landing.ts";
import { openPlace, type OpenDirectory, openRegular, partialName, partSuffix } from "./paths.ts";
import {
  type ByteReport,
  checkSize,
  type MovedFile,
  type PlanInput,
  type PlannedFile,
  type SharedFile,
  tooLarge,
} from "./plan.ts";
import { SharedInput } from "./cache/shared-input.ts";
import { withRetries } from "./retry.ts";
import { splitPattern } from "./tree.ts";
import type {
  FileContent,
  ManifestEntry,
  RemoteFile,
  TransferAdapter,
  TransferContext,
  TransferItem,
} from "./types.ts";
import { readUrl, shownUrl, urlBelow } from "./urls.ts";

/** One input with its verdicts taken. */
export interface Source {
  readonly item: TransferItem;
  readonly what: string;
  /** Canonical URL as the policy gave it. */
  readonly url: string;
  readonly adapter: TransferAdapter;
  readonly host: string;
  /** Components of the target; none for the root itself. */
  readonly target: readonly string[];
}

/** A try that brought so much further does not count against the limit of tries: a long file outlives many connections. */
export const progressBytes = 256 * 1024;

/** Puts the item's name before a fault's message. */
export function named(error: unknown, what: string): unknown {
  if (!isFault(error) || error.message.startsWith(what)) return error;
  return new Fault(error.code, `${what}: ${error.message}`, {
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    ...(error.details === undefined ? {} : { details: error.details }),
    cause: error,
  });
}

/** One file of an input: fetched, verified and given its final name. */
export class FetchedFile implements PlannedFile {
  readonly path: string;
  readonly #source: Source;
  readonly #input: PlanInput;
  #remote: RemoteFile;

  constructor(source: Source, remote: RemoteFile, input: PlanInput) {
    this.#source = source;
    this.#remote = promisedBy(source.item, remote);
    this.#input = input;
    this.path = targetPath(source, remote.path);
  }

  get item(): TransferItem {
    return this.#source.item;
  }

  get host(): string {
    return this.#source.host;
  }

  get bytes(): number | undefined {
    return this.#remote.bytes;
  }

  /** As the source lists it, with what the job promises. */
  get remote(): RemoteFile {
    return this.#remote;
  }

  /** A source on this machine is as near as a cache would be. */
  get shared(): SharedFile | undefined {
    const { deps, request } = this.#input;
    const { adapter, what, url } = this.#source;
    if (!deps.cache || this.item.mode === "link" || adapter.localPath) return undefined;
    // What jobs have as links to one file has no attributes of each.
    if (deps.cache.links && this.#remote.mode !== undefined) return undefined;
    return new SharedInput(deps.cache, this, { what, url, root: request.root, part: this.#partName() });
  }

  async preserve(entry: ManifestEntry): Promise<ManifestEntry> {
    const { mode, mtimeMs } = this.#remote;
    if (mode === undefined || this.item.mode === "link") return entry;
    await using place = await openPlace(this.#input.request.root, this.path, this.#source.what);
    await using handle = await openRegular(place.directory.at(place.name), this.path, this.#source.what);
    await handle.chmod((mode & 0o777) | 0o400); // what we cannot read we could not look at again
    if (mtimeMs !== undefined) await handle.utimes(mtimeMs / 1000, mtimeMs / 1000);
    return { ...entry, mtimeMs: Math.trunc((await handle.stat()).mtimeMs) };
  }

  async move(context: TransferContext, report: ByteReport): Promise<MovedFile> {
    try {
      return await withRetries(`${this.#source.what} (${this.path})`, context, this.#input.deps.retry, async (last) => {
        if (isSourceChanged(last)) await this.#relist(context);
        return this.#attempt(context, report);
      });
    } catch (error) {
      throw named(error, this.#source.what);
    }
  }

  /** The source is another one now: its size and version must be asked for again. */
  async #relist(context: TransferContext): Promise<void> {
    const { adapter, url, item } = this.#source;
    const { path } = this.#remote;
    const found = async (files: readonly RemoteFile[]): Promise<void> => {
      const same = files.find((file) => file.path === path);
      if (same) this.relisted(same);
    };
    await found(await adapter.list(url, item.kind, context, found));
  }

  relisted(remote: RemoteFile): void {
    this.#remote = promisedBy(this.item, remote);
  }

  async #attempt(context: TransferContext, report: ByteReport): Promise<MovedFile> {
    await using place = await openPlace(this.#input.request.root, this.path, this.#source.what);
    const { directory, name } = place;
    const present = await this.#alreadyThere(directory, name, context);
    if (present) return present;
    if (this.item.mode === "link" && this.#source.adapter.localPath) return await this.#link(directory, name, context);
    return await this.#copy(directory, name, context, report);
  }

  /** A file that an earlier run completed but could not record any more; only a promised digest can tell. */
  async #alreadyThere(directory: OpenDirectory, name: string, context: CallContext): Promise<MovedFile | undefined> {
    const promised = this.#promised();
    if (promised === undefined) return undefined;
    try {
      await using handle = await openRegular(directory.at(name), this.path, this.#source.what);
      const { size, mtimeMs } = await handle.stat();
      if (this.bytes !== undefined && size !== this.bytes) return undefined;
      const { bytes, sha256 } = await digestOf(handle, context.signal);
      if (sha256 !== promised) return undefined;
      return { entry: this.entry(bytes, sha256, mtimeMs), movedBytes: 0 };
    } catch (error) {
      if (errnoOf(error) === "ENOENT" || isFault(error, "UNSAFE_PATH")) return undefined;
      throw error;
    }
  }

  async #copy(
    directory: OpenDirectory,
    name: string,
    context: TransferContext,
    report: ByteReport,
  ): Promise<MovedFile> {
    const { adapter, url } = this.#source;
    const remote = this.#remote;
    const resumable = adapter.capabilities.resume && (remote.version ?? this.#promised()) !== undefined;
    await using landing = await Landing.open(directory, this.#partName(), {
      resume: resumable,
      longestBytes: remote.bytes ?? Infinity,
      signal: context.signal,
    });
    const start = landing.bytes;
    try {
      report(start);
      for await (const chunk of await adapter.read(url, remote, start, context)) {
        throwIfStopped(context.signal);
        this.#checkRoom(landing.bytes + chunk.byteLength);
        await landing.append(chunk);
        await context.remote?.flow(chunk.byteLength);
        report(chunk.byteLength);
      }
      this.#checkWhole(landing.bytes, landing.digest());
      const mtimeMs = await landing.commit(name);
      return { entry: this.entry(landing.bytes, landing.digest(), mtimeMs), movedBytes: landing.bytes - start };
    } catch (error) {
      report(-landing.bytes);
      const fault = transferFault(error, this.path);
      const useless = fault.row.retry !== "soon" || fault.code === "DIGEST_MISMATCH" || isSourceChanged(fault);
      if (!context.signal.aborted && (useless || !resumable || isFull(fault))) await landing.discard();
      throw resumable && !useless && landing.bytes - start >= progressBytes ? advanced(fault) : error;
    }
  }

  /** @throws Fault when what lies here is not what was listed, promised or allowed. */
  check({ bytes, sha256 }: FileContent): void {
    this.#checkRoom(bytes);
    this.#checkWhole(bytes, sha256);
  }

  #checkRoom(bytes: number): void {
    const { maxBytes } = this.item;
    const what = `${this.#source.what} (${this.path})`;
    if (maxBytes !== undefined && bytes > maxBytes) throw tooLarge(what, maxBytes);
    if (this.#remote.bytes !== undefined && bytes > this.#remote.bytes) throw sourceChanged(what);
  }

  #checkWhole(bytes: number, sha256: string): void {
    const what = `${this.#source.what} (${this.path})`;
    if (this.#remote.bytes !== undefined && bytes < this.#remote.bytes) {
      throw new Fault("TRANSFER", `${what} ended after ${bytes} of ${this.#remote.bytes} bytes`);
    }
    checkSize(what, this.item.expectedSize, bytes);
    const promised = this.#promised();
    if (promised !== undefined && promised !== sha256) throw digestMismatch(what, promised, sha256);
  }

  /**
   * A hard link; across file systems a symbolic link to the real path. Content and size are verified as for a copy. A job can
   * alter a linked source, therefore `link` is a choice of the app.
   */
  async #link(directory: OpenDirectory, name: string, context: TransferContext): Promise<MovedFile> {
    const { adapter, url, what } = this.#source;
    const real = (await adapter.localPath?.(url, this.#remote, context)) ?? "";
    await using source = await openRegular(real, shownUrl(url), what);
    const before = await source.stat();
    const { bytes, sha256 } = await digestOf(source, context.signal);
    const after = await source.stat();
    if (before.mtimeMs !== after.mtimeMs || bytes !== after.size) throw sourceChanged(what);
    this.check({ bytes, sha256 });
    const part = directory.at(this.#partName());
    await rm(part, { force: true });
    await linkOrSymlink(real, part);
    const made = await lstat(part);
    if (!made.isSymbolicLink() && made.ino !== after.ino) throw sourceChanged(what);
    await failpoint("transfer.before-rename");
    await rename(part, directory.at(name));
    await failpoint("transfer.after-rename");
    await rm(part, { force: true }); // renaming a link onto another link of the same file does nothing
    await directory.sync();
    return { entry: this.entry(bytes, sha256, after.mtimeMs), movedBytes: 0 };
  }

  #promised(): string | undefined {
    return this.#remote.sha256;
  }

  /** The same for the same version of the source only, so that parts of two versions never meet. */
  #partName(): string {
    const { version, bytes } = this.#remote;
    const source = shownUrl(this.#source.url);
    return partialName(
      this.#input.request.token,
      partSuffix(this.path, source, version ?? "", String(bytes ?? ""), this.#promised() ?? ""),
    );
  }

  entry(bytes: number, sha256: string, mtimeMs: number): ManifestEntry {
    const { item, adapter, url } = this.#source;
    const sized = this.#remote.bytes === undefined ? "accepted" : "size";
    const verified = this.#promised() !== undefined ? "digest" : adapter.localPath ? "local" : sized;
    return {
      item: item.name,
      path: this.path,
      url: fileUrl(url, item, this.#remote.path),
      bytes,
      sha256,
      verified,
      mtimeMs: Math.trunc(mtimeMs),
    };
  }
}

/** Below the job's root, of a file by its path in the source. */
export function targetPath({ target }: Source, path: string): string {
  return [...target, ...(path === "" ? [] : [path])].join("/");
}

/** The job's own promise goes before the server's. */
function promisedBy(item: TransferItem, remote: RemoteFile): RemoteFile {
  return item.expectedSha256 === undefined ? remote : { ...remote, sha256: item.expectedSha256 };
}

/** URL of one file of an item, without query: it is kept and shown. */
export function fileUrl(url: string, item: TransferItem, path: string): string {
  const bare = url.replace(/\?.*$/s, "");
  if (item.kind !== "glob") return urlBelow(bare, path);
  const reading = readUrl(bare);
  if (!reading.ok) return bare;
  const { base } = splitPattern(reading.url.segments);
  return urlBelow(bare.slice(0, bare.indexOf("/", reading.url.scheme.length + 3) + 1), [...base, path].join("/"));
}

async function linkOrSymlink(real: string, part: string): Promise<void> {
  await failpoint("transfer.before-link");
  try {
    await link(real, part);
  } catch (error) {
    if (!["EXDEV", "EPERM", "EMLINK", "ENOTSUP", "EOPNOTSUPP"].includes(errnoOf(error) ?? "")) throw error;
    await symlink(real, part);
  }
  await failpoint("transfer.after-link");
}
