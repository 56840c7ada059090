import type { CallContext } from "../../common/context.ts";
import { openPlace, openRegular } from "../paths.ts";
import type { MovedFile, SharedFile } from "../plan.ts";
import type { FileContent, ManifestEntry, RemoteFile } from "../types.ts";
import type { InputCache, WantedFile } from "./index.ts";

/** What has to be known of a file that is to be fetched. */
export interface FileToFetch {
  /** Relative to the job's root. */
  readonly path: string;
  readonly remote: RemoteFile;
  /** @throws Fault when it is not what was listed, promised or allowed. */
  check(content: FileContent): void;
  entry(bytes: number, sha256: string, mtimeMs: number): ManifestEntry;
}

/** Where one file of an input belongs. */
export interface InputPlace {
  /** `input 'reads'` */
  readonly what: string;
  /** Of the input, canonical. */
  readonly url: string;
  /** Of the job; absolute. */
  readonly root: string;
  /** Name of the file while it is incomplete. */
  readonly part: string;
}

/** One file of an input, and the cache. */
export class SharedInput implements SharedFile {
  readonly #cache: InputCache;
  readonly #file: FileToFetch;
  readonly #place: InputPlace;

  constructor(cache: InputCache, file: FileToFetch, place: InputPlace) {
    this.#cache = cache;
    this.#file = file;
    this.#place = place;
  }

  wanted(): WantedFile | undefined {
    return this.#cache.wanted(this.#place.url, this.#file.remote);
  }

  async take(context: CallContext): Promise<MovedFile | undefined> {
    const wanted = this.wanted();
    if (!wanted) return undefined;
    const { root, what, part } = this.#place;
    await using place = await openPlace(root, this.#file.path, what);
    const taken = await this.#cache.take(wanted, { ...place, part }, context);
    if (!taken) return undefined;
    this.#file.check(taken);
    return { entry: this.#file.entry(taken.bytes, taken.sha256, taken.mtimeMs), movedBytes: 0 };
  }

  async keep(entry: ManifestEntry, context: CallContext): Promise<boolean> {
    if (!this.wanted()) return false;
    const { root, what, url } = this.#place;
    await using place = await openPlace(root, this.#file.path, what);
    await using handle = await openRegular(place.directory.at(place.name), this.#file.path, what);
    return await this.#cache.keep({ handle, ...place }, entry, { url, file: this.#file.remote }, context);
  }
}
