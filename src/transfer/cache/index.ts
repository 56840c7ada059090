/**
 * A cache of inputs on the site, shared by its jobs: files by their digest. It only ever saves work. What it gives is compared with
 * the digest each time, and whatever goes wrong with it is told and leaves jobs as if there were none.
 */
import { rename, rm, stat, statfs } from "node:fs/promises";
import type { CallContext } from "../../common/context.ts";
import { openPlainFile } from "../../common/files.ts";
import { isFull, throwIfStopped, transferFault } from "../errors.ts";
import { digestOf, Landing, readPieces } from "../landing.ts";
import type { OpenDirectory } from "../paths.ts";
import type { FileContent, InputCacheControl, InputCacheView, RemoteFile } from "../types.ts";
import { takeDirectory } from "./directory.ts";
import { Evictions } from "./evictions.ts";
import { factKey, Facts, isSettled } from "./facts.ts";
import { Flights } from "./flights.ts";
import { type Clone, cloneFile, linkObject, type NamedFile, Objects, type Placing } from "./objects.ts";

export interface InputCacheSettings {
  /** Absolute; used by this agent alone. */
  readonly directory: string;
  readonly maxBytes: number;
  readonly placing: Placing;
  /** `version`: a file whose source tells the version that it had before is the same file; `digest`: only a digest tells. */
  readonly trust: "version" | "digest";
  /** Of the cache's file system: it gives way when less is left. */
  readonly minFreeBytes: number;
}

export interface InputCacheOptions extends InputCacheSettings {
  /** Which agent has the directory; stable over its restarts. */
  readonly agent: () => Promise<string>;
  readonly clone?: Clone;
}

/** What a file may be known by before it is fetched. */
export interface WantedFile {
  /** Jobs that want the same have the same. */
  readonly key: string;
  /** Lower-case hexadecimal; promised by the job or told by the source. */
  readonly sha256: string | undefined;
  /** Its version at its source, for `Facts`. */
  readonly fact: string | undefined;
  readonly bytes: number | undefined;
}

/** Where a file is to be put: complete under `name`, `part` until then. */
export interface CacheTarget {
  readonly directory: OpenDirectory;
  readonly part: string;
  readonly name: string;
}

interface Opened {
  readonly objects: Objects;
  readonly facts: Facts;
  readonly evictions: Evictions;
}

export class InputCache implements InputCacheControl {
  readonly flights = new Flights();
  readonly #options: InputCacheOptions;
  #settings: InputCacheSettings;
  #opened: Promise<Opened> | undefined;
  /** Since the directory was taken; its contents may still be counted. */
  #evictions: Evictions | undefined;
  #problem: string | undefined;
  #hits = 0;
  #misses = 0;
  #savedBytes = 0;
  #spoilt = 0;
  /** Digests that are being taken up. */
  readonly #adding = new Set<string>();

  /** Touches nothing before it is asked for a file. */
  constructor(options: InputCacheOptions) {
    this.#options = options;
    this.#settings = options;
  }

  /** After the site file was read anew; the directory stays. */
  configure(settings: Omit<InputCacheSettings, "directory">): void {
    this.#settings = { ...settings, directory: this.#options.directory };
    this.#evictions?.configure(this.#settings);
  }

  /** Jobs share the files themselves. */
  get links(): boolean {
    return this.#settings.placing === "link";
  }

  /** Undefined: nothing that is strong enough to find it by. */
  wanted(url: string, file: RemoteFile): WantedFile | undefined {
    const fact = this.#settings.trust === "version" ? factKey(url, file) : undefined;
    const key = file.sha256 ?? fact;
    return key === undefined ? undefined : { key, sha256: file.sha256, fact, bytes: file.bytes };
  }

  /** Puts a file at its place in a job's directory, compared with its digest; undefined when it is not here. Throws CANCELLED alone. */
  async take(
    wanted: WantedFile,
    target: CacheTarget,
    context: CallContext,
  ): Promise<(FileContent & { readonly mtimeMs: number }) | undefined> {
    return this.#guarded(context, async (opened) => {
      const content = await this.#contentOf(wanted, opened);
      const placed = content === undefined ? undefined : await this.#place(content, target, opened, context);
      if (placed) {
        this.#hits++;
        this.#savedBytes += placed.bytes;
      } else this.#misses++;
      return placed;
    });
  }

  /** Takes up a file that a job has fetched and verified, and what it was at its source. Throws CANCELLED alone. */
  async keep(
    file: NamedFile,
    content: FileContent,
    source: { readonly url: string; readonly file: RemoteFile },
    context: CallContext,
  ): Promise<boolean> {
    const kept = await this.#guarded(context, async (opened) => {
      if (!(await this.#add(file, content, opened, context))) return false;
      const fact = this.wanted(source.url, source.file)?.fact;
      if (fact !== undefined && isSettled(source.file, context.clock.now())) await opened.facts.remember(fact, content);
      return true;
    });
    return kept ?? false;
  }

  /**
   * Gives up what was used least lately until so much is free on its file system, as far as it can: by default what the site wants
   * to be left free. Does nothing when `near` lies on another file system. Throws CANCELLED alone.
   */
  async makeRoom(context: CallContext, bytes = this.#settings.minFreeBytes, near?: string): Promise<void> {
    await this.#guarded(context, async ({ evictions }) => {
      const { directory } = this.#settings;
      if (near !== undefined && (await stat(near)).dev !== (await stat(directory)).dev) return;
      const { bavail, bsize } = await statfs(directory);
      if (bavail * bsize < bytes) await evictions.free(bytes - bavail * bsize, context);
    });
  }

  view(): InputCacheView {
    return {
      directory: this.#settings.directory,
      bytes: this.#evictions?.bytes,
      files: this.#evictions?.files,
      maxBytes: this.#settings.maxBytes,
      hits: this.#hits,
      misses: this.#misses,
      savedBytes: this.#savedBytes,
      evicted: this.#evictions?.evicted ?? 0,
      spoilt: this.#spoilt,
      problem: this.#problem,
    };
  }

  /** Whatever fails here is the cache's own trouble: told, and done without. */
  async #guarded<Value>(
    context: CallContext,
    call: (opened: Opened) => Promise<Value | undefined>,
  ): Promise<Value | undefined> {
    try {
      const value = await call(await this.#open(context));
      this.#problem = undefined;
      return value;
    } catch (error) {
      throwIfStopped(context.signal);
      const fault = transferFault(error, "the cache of inputs");
      const known = this.#problem === fault.message;
      this.#problem = fault.message;
      if (!known) context.log.warn({ err: fault }, "the cache of inputs cannot be used");
      return undefined;
    }
  }

  /** Tried again at the next call after a failure: directories are repaired. */
  #open(context: CallContext): Promise<Opened> {
    const opening = (this.#opened ??= this.#begin(context));
    opening.catch(() => (this.#opened = undefined));
    return opening;
  }

  async #begin(context: CallContext): Promise<Opened> {
    const { directory, agent, clone = cloneFile } = this.#options;
    const places = await takeDirectory(directory, await agent());
    const objects = new Objects(places, clone);
    await objects.removeUnfinished();
    const facts = new Facts(places.facts, places.unfinished);
    const evictions = new Evictions(objects, facts, this.#settings);
    this.#evictions = evictions;
    evictions.count(context);
    return { objects, facts, evictions };
  }

  async #contentOf(wanted: WantedFile, { facts, objects }: Opened): Promise<FileContent | undefined> {
    const fact = wanted.fact === undefined ? undefined : await facts.find(wanted.fact);
    const sha256 = wanted.sha256 ?? fact?.sha256;
    if (sha256 === undefined) return undefined;
    const found = await objects.find(sha256);
    // Of another size it is spoilt, or the promise is wrong: what is fetched will show.
    return found && (wanted.bytes ?? found.bytes) === found.bytes ? { sha256, bytes: found.bytes } : undefined;
  }

  async #place(
    content: FileContent,
    target: CacheTarget,
    opened: Opened,
    context: CallContext,
  ): Promise<(FileContent & { readonly mtimeMs: number }) | undefined> {
    const { objects, evictions } = opened;
    const { sha256 } = content;
    using _used = evictions.using(sha256);
    const object = await openPlainFile(objects.path(sha256));
    if (!object) return undefined;
    await using _closed = object;
    const mtimeMs =
      (await this.#linked(object, content, target, opened, context)) ??
      (await this.#copied(object, content, target, opened, context));
    if (mtimeMs === undefined) {
      this.#spoilt++;
      context.log.warn({ sha256 }, "a file of the cache of inputs was not what its name says; it is removed");
      await evictions.remove(sha256);
      return undefined;
    }
    await objects.touch(sha256, context.clock.now());
    return { ...content, mtimeMs };
  }

  /** Undefined: no link; the object may be spoilt or lie on another file system. */
  async #linked(
    object: NamedFile["handle"],
    { sha256, bytes }: FileContent,
    { directory, part, name }: CacheTarget,
    { objects }: Opened,
    { signal }: CallContext,
  ): Promise<number | undefined> {
    if (this.#settings.placing !== "link") return undefined;
    const found = await digestOf(object, signal);
    if (found.sha256 !== sha256 || found.bytes !== bytes) return undefined;
    if (!(await linkObject(objects.path(sha256), directory.at(part)))) return undefined;
    await object.chmod(0o444);
    await rename(directory.at(part), directory.at(name));
    await rm(directory.at(part), { force: true }); // renaming a link onto another link of the same file does nothing
    await directory.sync();
    return (await object.stat()).mtimeMs;
  }

  /** Shares blocks where the file system can. Undefined: the object is not what its name says. */
  async #copied(
    object: NamedFile["handle"],
    { sha256, bytes }: FileContent,
    { directory, part, name }: CacheTarget,
    { objects }: Opened,
    { signal }: CallContext,
  ): Promise<number | undefined> {
    await rm(directory.at(part), { force: true, recursive: true });
    const cloned = await objects.clone(object, directory.at(part));
    await using landing = await Landing.open(directory, part, { resume: cloned, longestBytes: bytes, signal });
    try {
      for await (const piece of readPieces(object, landing.bytes, signal)) {
        if (landing.bytes + piece.byteLength > bytes) break;
        await landing.append(piece);
      }
      if (landing.bytes === bytes && landing.digest() === sha256) return await landing.commit(name);
    } catch (error) {
      await landing.discard();
      throw error;
    }
    await landing.discard();
    return undefined;
  }

  async #add(file: NamedFile, content: FileContent, opened: Opened, context: CallContext): Promise<boolean> {
    const { objects, evictions } = opened;
    const { sha256, bytes } = content;
    if (this.#adding.has(sha256)) return false;
    this.#adding.add(sha256);
    try {
      const found = await objects.find(sha256);
      if (found?.bytes === bytes) {
        await objects.touch(sha256, context.clock.now());
        return true;
      }
      await evictions.remove(sha256);
      using room = await evictions.reserve(bytes, context);
      if (!room) return false;
      await this.#addOrMakeRoom(file, content, opened, context);
      room.used();
      return true;
    } finally {
      this.#adding.delete(sha256);
    }
  }

  /** A full disk: older files give way once; then it is done without. */
  async #addOrMakeRoom(file: NamedFile, content: FileContent, opened: Opened, context: CallContext): Promise<void> {
    const { objects, evictions } = opened;
    const add = (): Promise<void> => objects.add(file, content, this.#settings.placing, context.signal);
    try {
      await add();
    } catch (error) {
      if (!isFull(transferFault(error, "a file of the cache"))) throw error;
      await evictions.free(content.bytes, context);
      await add();
    }
  }
}
