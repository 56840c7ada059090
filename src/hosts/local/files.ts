import { watch } from "node:fs";
import { statfs } from "node:fs/promises";
import { inFileThread } from "../../common/file-thread.ts";
import { confined } from "../confine.ts";
import type { FileStat, HostFiles } from "../types.ts";
import type * as here from "./files-here.ts";

/** Each call is one hand-over to the thread for files. */
const read = inFileThread<typeof here.read>(import.meta.url, "./files-here", "read");
const write = inFileThread<typeof here.write>(import.meta.url, "./files-here", "write");
const stat = inFileThread<typeof here.stat>(import.meta.url, "./files-here", "stat");
const mkdir = inFileThread<typeof here.mkdir>(import.meta.url, "./files-here", "mkdir");
const list = inFileThread<typeof here.list>(import.meta.url, "./files-here", "list");
const remove = inFileThread<typeof here.remove>(import.meta.url, "./files-here", "remove");

/** Files below a workdir of this machine. */
export class LocalFiles implements HostFiles {
  readonly #workdir: string;

  constructor(workdir: string) {
    this.#workdir = workdir;
  }

  async read(
    path: string,
    options: { readonly offset?: number; readonly maxBytes: number },
  ): Promise<Buffer | undefined> {
    const bytes = await read(this.#workdir, path, options);
    return bytes && Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  write(path: string, content: string | Uint8Array, options: { readonly mode: number }): Promise<void> {
    return write(this.#workdir, path, content, options);
  }

  stat(path: string): Promise<FileStat | undefined> {
    return stat(this.#workdir, path);
  }

  mkdir(path: string, options: { readonly mode?: number }): Promise<boolean> {
    return mkdir(this.#workdir, path, options);
  }

  watch(path: string, onChange: (name: string) => void): Disposable {
    try {
      const watcher = watch(confined(this.#workdir, path), { persistent: false }, (_event, name) =>
        onChange(name ?? ""),
      );
      watcher.on("error", () => watcher.close());
      return { [Symbol.dispose]: () => watcher.close() };
    } catch {
      return { [Symbol.dispose]: () => {} }; // no watches left, or the directory is gone: who asks looks anyway
    }
  }

  list(path: string): Promise<readonly string[] | undefined> {
    return list(this.#workdir, path);
  }

  remove(path: string): Promise<void> {
    return remove(this.#workdir, path);
  }

  async freeRoom(): Promise<{ readonly bytes: number; readonly files: number | undefined } | undefined> {
    try {
      const { bavail, bsize, files, ffree } = await statfs(this.#workdir);
      return { bytes: bavail * bsize, files: files === 0 ? undefined : ffree };
    } catch {
      return undefined; // not made yet: the first job makes it
    }
  }
}
