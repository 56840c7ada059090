import { watch } from "node:fs";
import { lstat, mkdir, readdir, stat, statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import { errnoOf, Fault } from "../../common/fault.ts";
import { durableReplace, openPlainFile, removeTree } from "../../common/files.ts";
import { confined, linkInPath } from "../confine.ts";
import type { FileStat, HostFiles } from "../types.ts";

const absent: readonly (string | undefined)[] = ["ENOENT", "ENOTDIR"];

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
    return this.#of(path, async (plain) => {
      await using file = await openPlainFile(plain);
      if (!file) return undefined;
      const { offset = 0, maxBytes } = options;
      const { size } = await file.stat();
      const buffer = Buffer.alloc(Math.max(0, Math.min(maxBytes, size - offset)));
      let filled = 0;
      while (filled < buffer.byteLength) {
        const { bytesRead } = await file.read(buffer, filled, buffer.byteLength - filled, offset + filled);
        if (bytesRead === 0) break;
        filled += bytesRead;
      }
      return buffer.subarray(0, filled);
    });
  }

  async write(path: string, content: string | Uint8Array, options: { readonly mode: number }): Promise<void> {
    await this.#of(path, (plain) => durableReplace(plain, content, options.mode));
  }

  async stat(path: string): Promise<FileStat | undefined> {
    return this.#of(path, async (plain) => {
      try {
        const stats = await lstat(plain);
        const type = stats.isFile()
          ? "file"
          : stats.isDirectory()
            ? "directory"
            : stats.isSymbolicLink()
              ? "link"
              : "other";
        return { type, bytes: stats.size, mtimeMs: stats.mtimeMs, mode: stats.mode & 0o7777 };
      } catch (error) {
        if (absent.includes(errnoOf(error))) return undefined;
        throw error;
      }
    });
  }

  async mkdir(path: string, options: { readonly mode?: number }): Promise<boolean> {
    const mode = options.mode ?? 0o700;
    return this.#of(path, async (plain) => {
      await mkdir(dirname(plain), { recursive: true, mode });
      try {
        await mkdir(plain, { mode });
        return true;
      } catch (error) {
        const look = plain === this.#workdir ? stat : lstat;
        if (errnoOf(error) !== "EEXIST" || !(await look(plain)).isDirectory()) throw error;
        return false;
      }
    });
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

  async list(path: string): Promise<readonly string[] | undefined> {
    return this.#of(path, async (plain) => {
      try {
        if (plain !== this.#workdir && !(await lstat(plain)).isDirectory()) return undefined;
        return await readdir(plain);
      } catch (error) {
        if (absent.includes(errnoOf(error))) return undefined;
        throw error;
      }
    });
  }

  async remove(path: string): Promise<void> {
    await this.#of(path, async (plain) => {
      try {
        await removeTree(plain);
      } catch (error) {
        if (errnoOf(error) !== "ENOTDIR") throw error; // a file where its directory should be: nothing is there
      }
    });
  }

  async freeRoom(): Promise<{ readonly bytes: number; readonly files: number | undefined } | undefined> {
    try {
      const { bavail, bsize, files, ffree } = await statfs(this.#workdir);
      return { bytes: bavail * bsize, files: files === 0 ? undefined : ffree };
    } catch {
      return undefined; // not made yet: the first job makes it
    }
  }

  async #of<T>(path: string, work: (plain: string) => Promise<T>): Promise<T> {
    const plain = confined(this.#workdir, path);
    try {
      await this.#refuseLinks(plain);
      return await work(plain);
    } catch (error) {
      if (error instanceof Fault) throw error;
      throw new Fault("TRANSFER", `'${plain}': ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      });
    }
  }

  /** Of the names between the workdir and the last one, none may be a link: jobs can make them. */
  async #refuseLinks(path: string): Promise<void> {
    const names = dirname(path)
      .slice(this.#workdir.length + 1)
      .split("/");
    for (const index of path === this.#workdir || names[0] === "" ? [] : names.keys()) {
      const place = join(this.#workdir, ...names.slice(0, index + 1));
      try {
        if ((await lstat(place)).isSymbolicLink()) throw linkInPath(path, place);
      } catch (error) {
        if (!absent.includes(errnoOf(error))) throw error;
        return;
      }
    }
  }
}
