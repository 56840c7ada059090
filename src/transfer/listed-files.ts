import type { FilesFound, RemoteFile } from "./types.ts";

/** Files that are handed on together. */
const atOnce = 1_000;

/** What an adapter's `list` collects: hands it on to `found` as it grows, and keeps all where there is no `found`. */
export class ListedFiles {
  readonly #found: FilesFound | undefined;
  #files: RemoteFile[] = [];

  constructor(found: FilesFound | undefined) {
    this.#found = found;
  }

  /** @throws Fault that `found` throws */
  async add(file: RemoteFile): Promise<void> {
    this.#files.push(file);
    if (!this.#found || this.#files.length < atOnce) return;
    const files = this.#files;
    this.#files = [];
    await this.#found(files);
  }

  /** What is left for the answer. */
  get rest(): readonly RemoteFile[] {
    return this.#files;
  }
}
