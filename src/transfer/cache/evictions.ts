/** How much a cache holds, and what goes when that is too much: what was used least lately, never what is in use. */
import { statfs } from "node:fs/promises";
import type { CallContext } from "../../common/context.ts";
import { failpoint } from "../../common/failpoint.ts";
import { throwIfStopped, transferFault } from "../errors.ts";
import type { Facts } from "./facts.ts";
import type { Objects, StoredObject } from "./objects.ts";

export interface CacheLimits {
  readonly directory: string;
  readonly maxBytes: number;
  readonly minFreeBytes: number;
}

/** More small files than this go by their number: each costs an inode, and a look when room is made. */
const mostFiles = 200_000;
/** So much more than needed goes at once, since each time all files are looked at. Part of the limit. */
const slack = 0.05;

/** Room for one file; given back at the end unless it was used. */
export interface Room extends Disposable {
  used(): void;
}

export class Evictions {
  readonly #objects: Objects;
  readonly #facts: Facts;
  #limits: CacheLimits;
  #counted: Promise<void> = Promise.resolve();
  #bytes = 0;
  #files = 0;
  #reservedBytes = 0;
  #evicted = 0;
  /** Digest → how many use it now. */
  readonly #inUse = new Map<string, number>();
  /** One at a time. */
  #freeing: Promise<void> = Promise.resolve();

  constructor(objects: Objects, facts: Facts, limits: CacheLimits) {
    this.#objects = objects;
    this.#facts = facts;
    this.#limits = limits;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get files(): number {
    return this.#files;
  }

  get evicted(): number {
    return this.#evicted;
  }

  configure(limits: CacheLimits): void {
    this.#limits = limits;
  }

  /** Looks at what is there, in the background; nothing is taken up before it is known. Facts of what is gone are forgotten. */
  count(context: CallContext): void {
    this.#counted = this.#count().catch((error: unknown) => {
      context.log.warn(
        { err: transferFault(error, "the cache of inputs") },
        "the cache of inputs could not be counted",
      );
    });
  }

  /** Until the end of its scope it is not removed. */
  using(sha256: string): Disposable {
    this.#inUse.set(sha256, (this.#inUse.get(sha256) ?? 0) + 1);
    return {
      [Symbol.dispose]: () => {
        const users = (this.#inUse.get(sha256) ?? 1) - 1;
        if (users === 0) this.#inUse.delete(sha256);
        else this.#inUse.set(sha256, users);
      },
    };
  }

  /** Room for a file, made if need be; undefined when there is none to be had. */
  async reserve(bytes: number, context: CallContext): Promise<Room | undefined> {
    const { maxBytes } = this.#limits;
    if (bytes > maxBytes) return undefined;
    await this.#counted;
    const missing = await this.#missing(bytes);
    if (missing > 0) await this.free(missing + Math.ceil(maxBytes * slack), context);
    if ((await this.#missing(bytes)) > 0) return undefined;
    this.#reservedBytes += bytes;
    return {
      used: () => {
        this.#bytes += bytes;
        this.#files++;
      },
      [Symbol.dispose]: () => {
        this.#reservedBytes -= bytes;
      },
    };
  }

  /** Removes what was used least lately until so many bytes are free, or all that may go has gone. */
  async free(bytes: number, context: CallContext): Promise<void> {
    const mine = this.#freeing.then(() => this.#free(bytes, context));
    this.#freeing = mine.catch(() => undefined);
    await mine;
  }

  async remove(sha256: string): Promise<void> {
    const found = await this.#objects.find(sha256);
    if (!found) return;
    await this.#objects.remove(sha256);
    this.#bytes -= found.bytes;
    this.#files--;
  }

  async #count(): Promise<void> {
    for await (const { bytes } of this.#objects.all()) {
      this.#bytes += bytes;
      this.#files++;
    }
    await this.#forgetFacts();
  }

  async #forgetFacts(): Promise<void> {
    for await (const name of this.#objects.facts()) {
      await this.#facts.prune(name, async (sha256) => (await this.#objects.find(sha256)) !== undefined);
    }
  }

  /** Bytes that have to go before so many more may come. */
  async #missing(bytes: number): Promise<number> {
    const { directory, maxBytes, minFreeBytes } = this.#limits;
    const { bavail, bsize } = await statfs(directory);
    const coming = this.#reservedBytes + bytes;
    const tooMany = this.#files >= mostFiles ? 1 : 0;
    return Math.max(this.#bytes + coming - maxBytes, coming + minFreeBytes - bavail * bsize, tooMany);
  }

  async #free(bytes: number, context: CallContext): Promise<void> {
    await this.#counted;
    const candidates: StoredObject[] = [];
    for await (const object of this.#objects.all()) {
      throwIfStopped(context.signal);
      if (object.links === 0) candidates.push(object);
    }
    candidates.sort((a, b) => a.usedAt - b.usedAt);
    const leastFiles = Math.floor(mostFiles * (1 - slack));
    let freed = 0;
    for (const { sha256, bytes: size } of candidates) {
      if (freed >= bytes && this.#files <= leastFiles) break;
      if (this.#inUse.has(sha256)) continue;
      await failpoint("cache.before-evict");
      await this.remove(sha256);
      await failpoint("cache.after-evict");
      this.#evicted++;
      freed += size;
    }
    if (freed > 0) await this.#forgetFacts();
  }
}
