/** For the thread for transfers: calls block. Confined as in `paths.ts`, links are not followed. */
import { closeSync, constants, fsyncSync, mkdirSync, openSync } from "node:fs";
import { errnoOf } from "../common/fault.ts";

const directoryFlags = constants.O_RDONLY | constants.O_DIRECTORY;
/** Of directories; files of one list mostly lie in few of them. */
const mostHandles = 256;

/** Open directories below a root, each opened once as long as there are not too many. */
export class Directories implements Disposable {
  readonly #create: boolean;
  readonly #durable: boolean;
  readonly #handles = new Map<string, number>();
  readonly #missing = new Set<string>();
  readonly #root: number;

  /** `durable`: none is closed before what it has got is durable, but those that are open in the end: for these there is `sync`. */
  constructor(root: string, create: boolean, durable = false) {
    this.#create = create;
    this.#durable = durable;
    this.#root = openSync(root, directoryFlags);
  }

  /** A path that leads to `path` and nowhere else; valid until the next one is asked for. */
  at(path: string): string {
    if (this.#handles.size > mostHandles) this.#close();
    return this.#below(path);
  }

  sync(): void {
    for (const handle of [this.#root, ...this.#handles.values()]) fsyncSync(handle);
  }

  [Symbol.dispose](): void {
    for (const handle of [this.#root, ...this.#handles.values()]) closeSync(handle);
  }

  #close(): void {
    for (const handle of this.#handles.values()) {
      if (this.#durable) fsyncSync(handle);
      closeSync(handle);
    }
    this.#handles.clear();
  }

  #below(path: string): string {
    const cut = path.lastIndexOf("/");
    return `/proc/self/fd/${cut < 0 ? this.#root : this.#open(path.slice(0, cut))}/${path.slice(cut + 1)}`;
  }

  #open(path: string): number {
    const known = this.#handles.get(path);
    if (known !== undefined) return known;
    if (this.#missing.has(path)) throw Object.assign(new Error("it is not there"), { code: "ENOENT" });
    const name = this.#below(path);
    try {
      if (this.#create) mkdirSync(name);
    } catch (error) {
      if (errnoOf(error) !== "EEXIST") throw error;
    }
    try {
      const handle = openSync(name, directoryFlags | constants.O_NOFOLLOW);
      this.#handles.set(path, handle);
      return handle;
    } catch (error) {
      if (errnoOf(error) === "ENOENT") this.#missing.add(path);
      throw error;
    }
  }
}
