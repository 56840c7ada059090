import { randomUUID } from "node:crypto";
import { join } from "node:path";
import type { FileEntryWithStats, Stats } from "ssh2";
import type { CallContext } from "../../common/context.ts";
import { Fault, isFault } from "../../common/fault.ts";
import { quoted } from "../../common/nearest.ts";
import { confined, linkInPath } from "../confine.ts";
import type { FileStat, HostFiles } from "../types.ts";
import type { SshLink } from "./link.ts";
import { SftpRefusal, SftpSession, sftpStatus } from "./sftp.ts";
import { makeDirectory, removeTree } from "./trees.ts";

/** Bytes of one request; every server takes that (draft-ietf-secsh-filexfer-02, section 3). */
const chunkBytes = 32_768;
/** Requests for parts of one file at the same time. */
const chunksAtOnce = 16;
/** For the end of a call that was ended itself. */
const closeMs = 10_000;

/** Removes a tree that SFTP cannot; rejects when that fails. */
export type RemoveByShell = (path: string, context: CallContext) => Promise<void>;

/**
 * Files below a workdir at the other end, over SFTP (version 3 with OpenSSH's extensions where the server offers them: `fsync`,
 * `posix-rename`, `statvfs`, `lsetstat`). The protocol cannot open a file without following links: all names of a path are looked at before,
 * and one that is a link is refused; a link that is put there in that very moment is followed.
 */
export class SftpFiles implements HostFiles, AsyncDisposable {
  readonly #workdir: string;
  readonly #session: SftpSession;
  readonly #removeByShell: RemoveByShell;

  constructor(workdir: string, link: SshLink, removeByShell: RemoveByShell) {
    this.#workdir = workdir;
    this.#session = new SftpSession(link);
    this.#removeByShell = removeByShell;
  }

  async read(
    path: string,
    { offset = 0, maxBytes }: { readonly offset?: number; readonly maxBytes: number },
    context: CallContext,
  ): Promise<Buffer | undefined> {
    return this.#of(path, async () => {
      const stats = await this.#look(path, context);
      if (!stats?.isFile()) return undefined; // opening a fifo would stop the server for all
      const handle = await this.#session.maybe<Buffer>(context, (sftp, done) => sftp.open(path, "r", done));
      if (!handle) return undefined;
      try {
        const { size } = await this.#session.call<Stats>(context, (sftp, done) => sftp.fstat(handle, done));
        const buffer = Buffer.alloc(Math.max(0, Math.min(maxBytes, size - offset)));
        return await this.#fill(handle, buffer, offset, context);
      } finally {
        await this.#close(handle, context);
      }
    });
  }

  async write(
    path: string,
    content: string | Uint8Array,
    { mode }: { readonly mode: number },
    context: CallContext,
  ): Promise<void> {
    await this.#of(path, async () => {
      await this.#look(path, context);
      const partial = `${path}.${randomUUID()}.tmp`;
      const bytes = typeof content === "string" ? Buffer.from(content) : Buffer.from(content);
      const handle = await this.#session.call<Buffer>(context, (sftp, done) =>
        sftp.open(partial, "wx", { mode }, done),
      );
      try {
        try {
          await this.#put(handle, bytes, context);
          await this.#session.extension(context, (sftp, done) => sftp.ext_openssh_fsync(handle, done));
        } finally {
          await this.#close(handle, context);
        }
        await this.#rename(partial, path, context);
      } catch (error) {
        await this.#session.maybe(context, (sftp, done) => sftp.unlink(partial, done)).catch(() => undefined);
        throw await this.#spaceOr(error, bytes.length, context);
      }
    });
  }

  async stat(path: string, context: CallContext): Promise<FileStat | undefined> {
    return this.#of(path, async () => {
      const stats = await this.#look(path, context);
      if (!stats) return undefined;
      const type = stats.isFile()
        ? "file"
        : stats.isDirectory()
          ? "directory"
          : stats.isSymbolicLink()
            ? "link"
            : "other";
      return { type, bytes: stats.size, mtimeMs: stats.mtime * 1000, mode: stats.mode & 0o7777 };
    });
  }

  async mkdir(path: string, { mode = 0o700 }: { readonly mode?: number }, context: CallContext): Promise<boolean> {
    return this.#of(path, async () => {
      const stats = await this.#look(path, context);
      if (stats?.isSymbolicLink()) throw linkInPath(path, path);
      return await makeDirectory(this.#session, path, mode, context);
    });
  }

  async list(path: string, context: CallContext): Promise<readonly string[] | undefined> {
    return this.#of(path, async () => {
      const stats = await this.#look(path, context);
      if (!stats?.isDirectory()) return undefined;
      const entries = await this.#session.maybe<readonly FileEntryWithStats[]>(context, (sftp, done) =>
        sftp.readdir(path, done),
      );
      return entries?.map(({ filename }) => filename);
    });
  }

  async remove(path: string, context: CallContext): Promise<void> {
    await this.#of(path, async () => {
      const stats = await this.#look(path, context);
      if (!stats) return;
      try {
        await removeTree(this.#session, path, stats.isDirectory(), context);
      } catch (error) {
        // Names that are no UTF-8, for example, cannot be said over SFTP.
        if (isFault(error)) throw error;
        await this.#removeByShell(path, context);
      }
    });
  }

  async freeRoom(
    context: CallContext,
  ): Promise<{ readonly bytes: number; readonly files: number | undefined } | undefined> {
    const found = await this.#session
      .extension<FreeSpace>(context, (sftp, done) => sftp.ext_openssh_statvfs(this.#workdir, done))
      .catch(ifRefused);
    if (!found) return undefined;
    const { f_bavail, f_frsize, f_files, f_favail } = found.value;
    return { bytes: f_bavail * f_frsize, files: f_files === 0 ? undefined : f_favail };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session[Symbol.asyncDispose]();
  }

  /**
   * What lies at the path, itself. Undefined also when a directory above it is missing or is none.
   * @throws Fault UNSAFE_PATH when one above it, below the workdir, is a link.
   */
  async #look(path: string, context: CallContext): Promise<Stats | undefined> {
    const names = path === this.#workdir ? [] : path.slice(this.#workdir.length + 1).split("/");
    const places = [this.#workdir, ...names.map((_, index) => join(this.#workdir, ...names.slice(0, index + 1)))];
    // All at once: the answers take one journey.
    const found = await Promise.all(
      places.map((place) =>
        place === this.#workdir
          ? this.#session.maybe<Stats>(context, (sftp, done) => sftp.stat(place, done))
          : this.#lstat(place, context),
      ),
    );
    for (const [index, stats] of found.slice(0, -1).entries()) {
      if (!stats) return undefined;
      if (stats.isSymbolicLink()) throw linkInPath(path, places[index] ?? path);
      if (!stats.isDirectory()) return undefined;
    }
    return found.at(-1);
  }

  /** A name below a file is "not there"; servers call that a failure. */
  async #lstat(path: string, context: CallContext): Promise<Stats | undefined> {
    try {
      return await this.#session.maybe<Stats>(context, (sftp, done) => sftp.lstat(path, done));
    } catch (error) {
      if (error instanceof SftpRefusal && error.status === sftpStatus.failure) return undefined;
      throw error;
    }
  }

  async #fill(handle: Buffer, buffer: Buffer, offset: number, context: CallContext): Promise<Buffer> {
    let filled = buffer.length;
    await inParts(buffer.length, async (at, length) => {
      for (let got = 0; got < length;) {
        const count = await this.#session.call<number>(context, (sftp, done) =>
          sftp.read(handle, buffer, at + got, length - got, offset + at + got, done),
        );
        if (count === 0) filled = Math.min(filled, at + got); // cut meanwhile
        if (count === 0) return;
        got += count;
      }
    });
    return buffer.subarray(0, filled);
  }

  async #put(handle: Buffer, bytes: Buffer, context: CallContext): Promise<void> {
    await inParts(bytes.length, (at, length) =>
      this.#session.call(context, (sftp, done) => sftp.write(handle, bytes, at, length, at, done)),
    );
  }

  /** Over what is there: in one step where the server can. */
  async #rename(from: string, to: string, context: CallContext): Promise<void> {
    const atOnce = await this.#session.extension(context, (sftp, done) => sftp.ext_openssh_rename(from, to, done));
    if (atOnce) return;
    await this.#session.maybe(context, (sftp, done) => sftp.unlink(to, done));
    await this.#session.call(context, (sftp, done) => sftp.rename(from, to, done));
  }

  async #close(handle: Buffer, context: CallContext): Promise<void> {
    // Also for a call that was ended: the server has only so many handles.
    const signal = AbortSignal.timeout(closeMs);
    await this.#session.call({ ...context, signal }, (sftp, done) => sftp.close(handle, done)).catch(ifRefused);
  }

  /** Servers call a full disk a failure without a reason. */
  async #spaceOr(error: unknown, bytes: number, context: CallContext): Promise<unknown> {
    if (!(error instanceof SftpRefusal) || error.status !== sftpStatus.failure) return error;
    const room = await this.freeRoom(context).catch(() => undefined);
    const full = room !== undefined && (room.bytes < bytes || room.files === 0);
    return full ? new SftpRefusal(error.status, "no space left there") : error;
  }

  async #of<Value>(path: string, work: () => Promise<Value>): Promise<Value> {
    confined(this.#workdir, path);
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof SftpRefusal)) throw error;
      throw new Fault("TRANSFER", `${quoted(path, 300)}: ${quoted(error.message, 200)}`, { cause: error });
    }
  }
}

/** Of statvfs@openssh.com. */
interface FreeSpace {
  readonly f_frsize: number;
  readonly f_bavail: number;
  readonly f_files: number;
  readonly f_favail: number;
}

function ifRefused(error: unknown): undefined {
  if (!(error instanceof SftpRefusal)) throw error;
}

/** Parts of a file, some at the same time. */
async function inParts(total: number, work: (at: number, length: number) => Promise<unknown>): Promise<void> {
  const parts = Array.from({ length: Math.ceil(total / chunkBytes) }, (_, index) => index * chunkBytes);
  for (let next = 0; next < parts.length; next += chunksAtOnce) {
    await Promise.all(parts.slice(next, next + chunksAtOnce).map((at) => work(at, Math.min(chunkBytes, total - at))));
  }
}
