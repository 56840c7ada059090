import { posix } from "node:path";
import type { Stats } from "ssh2";
import type { Probe } from "../../common/adapter.ts";
import type { CallContext } from "../../common/context.ts";
import { Fault } from "../../common/fault.ts";
import type { Token } from "../../common/token.ts";
import { missingSource, sourceChanged } from "../errors.ts";
import { unsafe } from "../paths.ts";
import type { TransferPolicy } from "../policy.ts";
import { selection, splitPattern } from "../tree.ts";
import type {
  BulkTransfer,
  FileContent,
  FilesFound,
  FoundFile,
  Leftover,
  RemoteFile,
  TransferAdapter,
  TransferContext,
  WriteInfo,
} from "../types.ts";
import { SftpBulk } from "./bulk.ts";
import { readBackBytes, RemoteDigests } from "./digests.ts";
import { sftpFault } from "./faults.ts";
import { readThrough } from "./flow.ts";
import { type FindAccess, fileOf, type Found, look, type Place, placeOf, versionOf } from "./place.ts";
import { sweepDirectory } from "./sweep.ts";
import { walkRemote } from "./walk.ts";
import { type Written, writeRemote } from "./write.ts";

export interface SftpTransferOptions {
  readonly policy: TransferPolicy;
  readonly access: FindAccess;
}

/** Files behind `sftp:` and `scp:` URLs, over the hosts' SSH layer. */
export function createSftpTransfer({ policy, access }: SftpTransferOptions): TransferAdapter {
  return new SftpTransfer(policy, access);
}

/** Files that were written and not yet asked for; the engine asks at once. */
const mostRemembered = 1_000;
/** Files of a listing whose digests are asked for together: to begin a command takes as long as those of thousands of small files. */
const listedAtOnce = 10_000;

class SftpTransfer implements TransferAdapter {
  readonly kind = "sftp";
  readonly schemes = ["sftp", "scp"];
  readonly capabilities = { resume: true, list: true, write: true, digest: true };
  readonly #policy: TransferPolicy;
  readonly #find: FindAccess;
  readonly #digests = new RemoteDigests();
  /** What was written, compared and given its final name a moment ago, by canonical URL. */
  readonly #written = new Map<string, Written>();
  readonly #began = new Map<string, number>();
  readonly bulk: BulkTransfer;

  constructor(policy: TransferPolicy, find: FindAccess) {
    this.#policy = policy;
    this.#find = find;
    this.bulk = new SftpBulk({ policy, find });
  }

  async probe(): Promise<Probe> {
    return { ok: true, version: "3" };
  }

  async list(
    url: string,
    kind: "file" | "directory" | "glob",
    context: CallContext,
    found?: FilesFound,
  ): Promise<readonly RemoteFile[]> {
    const place = placeOf(url, "sources", this.#policy, this.#find);
    try {
      if (kind === "file") return await this.#withDigests(place, [await regular(place, context)], context);
      const split = kind === "glob" ? splitPattern(place.segments) : { base: place.segments, pattern: undefined };
      const start = await look(place, `/${split.base.join("/")}`, context);
      if (!start) throw missingSource(place.what);
      if (!start.stats.isDirectory()) throw new Fault("TRANSFER_REFUSED", `${place.what} is no directory`);
      const chosen = selection({ pattern: split.pattern, include: [], exclude: [] });
      let listed: Listed[] = [];
      const all: RemoteFile[] = [];
      const handOn = async (): Promise<void> => {
        const files = await this.#withDigests(place, listed, context);
        listed = [];
        if (found) await found(files);
        else for (const file of files) all.push(file);
      };
      for await (const { path, real, attributes } of walkRemote(place, start.real, chosen, context)) {
        const { size, mtime, mode } = attributes;
        listed.push({ path, real, size, mtime, mode });
        if (listed.length >= listedAtOnce) await handOn();
      }
      await handOn();
      return all;
    } catch (error) {
      throw sftpFault(error, place.what);
    }
  }

  async read(url: string, file: RemoteFile, offset: number, context: CallContext): Promise<AsyncIterable<Uint8Array>> {
    return this.#pieces(fileOf(placeOf(url, "sources", this.#policy, this.#find), file), file, offset, context);
  }

  async write(url: string, localPath: string, info: WriteInfo, context: TransferContext): Promise<void> {
    const place = placeOf(url, "destinations", this.#policy, this.#find);
    this.#written.delete(url);
    const written = await writeRemote(place, localPath, info, { digests: this.#digests, began: this.#began }, context);
    if (this.#written.size < mostRemembered) this.#written.set(url, written);
  }

  async verify(url: string, context: CallContext): Promise<FoundFile | undefined> {
    const place = placeOf(url, "destinations", this.#policy, this.#find);
    const written = this.#written.get(url);
    this.#written.delete(url);
    try {
      const found = await look(place, place.path, context);
      if (!found) return undefined;
      const { size, mtime } = found.stats;
      if (!found.stats.isFile()) throw notRegular(place, found.stats);
      if (written?.bytes === size && written.mtime === mtime) {
        return { bytes: size, sha256: written.sha256, sampled: written.sampled };
      }
      if (place.access.settings.verify !== "digest") return { bytes: size, sha256: undefined };
      return await this.#digest(place, found, context);
    } catch (error) {
      throw sftpFault(error, place.what);
    }
  }

  async sweep({ url }: Leftover, token: Token, context: CallContext): Promise<void> {
    const place = placeOf(url, "destinations", this.#policy, this.#find);
    try {
      await sweepDirectory(place, token, context);
    } catch (error) {
      throw sftpFault(error, place.what);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async *#pieces(place: Place, file: RemoteFile, offset: number, context: CallContext): AsyncGenerator<Uint8Array> {
    const { files } = place.access;
    try {
      const { real, size, mtime } = await regular(place, context);
      if (file.version !== undefined && versionOf({ size, mtime }) !== file.version) {
        throw sourceChanged(place.what);
      }
      const handle = await files.call<Buffer>(context, (sftp, done) => sftp.open(real, "r", done));
      try {
        yield* readThrough(files, handle, { offset, size }, context);
        const after = await files.call<Stats>(context, (sftp, done) => sftp.fstat(handle, done));
        if (after.size !== size || after.mtime !== mtime) throw sourceChanged(place.what);
      } finally {
        await files.call(context, (sftp, done) => sftp.close(handle, done)).catch(() => undefined);
      }
    } catch (error) {
      throw sftpFault(error, place.what);
    }
  }

  /** Digests as the remote computes them now: what is read afterwards must have them. */
  async #withDigests(place: Place, files: readonly Listed[], context: CallContext): Promise<readonly RemoteFile[]> {
    const wanted = place.access.settings.verify === "digest" && this.#digests.canAsk(place.access, context);
    const known = wanted
      ? await this.#digests.ofMany(
          place.access,
          files.map(({ real, size }) => ({ path: real, bytes: size })),
          context,
        )
      : undefined;
    const base = posix.dirname(fileOf(place, { path: "x" }).path);
    return files.map(({ path, real, size, mtime, mode }) => {
      const sha256 = known?.get(real);
      const file: RemoteFile = {
        path,
        bytes: size,
        mtimeMs: mtime * 1000,
        version: versionOf({ size, mtime }),
        ...(sha256 === undefined ? {} : { sha256 }),
        ...(place.access.settings.preserve ? { mode: mode & 0o777 } : {}),
        ...(real === (path === "" ? place.path : posix.join(base, path)) ? {} : { real }),
      };
      return file;
    });
  }

  async #digest({ access }: Place, { real, stats }: Found, context: CallContext): Promise<FileContent> {
    const { size: bytes, mtime } = stats;
    if (bytes > readBackBytes && this.#digests.canAsk(access, context)) {
      const sha256 = (await this.#digests.ofMany(access, [{ path: real, bytes }], context)).get(real);
      if (sha256 !== undefined) return { bytes, sha256 };
    }
    const handle = await access.files.call<Buffer>(context, (sftp, done) => sftp.open(real, "r", done));
    const name = `${real}\0${versionOf({ size: bytes, mtime })}`;
    try {
      const digest = await this.#digests.readBacks.digest(access, { handle, bytes, name }, context);
      this.#digests.readBacks.forget(access, name);
      return digest;
    } finally {
      await access.files.call(context, (sftp, done) => sftp.close(handle, done)).catch(() => undefined);
    }
  }
}

interface Listed {
  /** As in `RemoteFile`. */
  readonly path: string;
  readonly real: string;
  readonly size: number;
  /** Whole seconds. */
  readonly mtime: number;
  readonly mode: number;
}

/** The regular file at a place. */
async function regular(place: Place, context: CallContext): Promise<Listed> {
  const found = await look(place, place.path, context);
  if (!found) throw missingSource(place.what);
  const { stats, real } = found;
  if (!stats.isFile()) throw notRegular(place, stats);
  return { path: "", real, size: stats.size, mtime: stats.mtime, mode: stats.mode };
}

function notRegular({ what }: Place, stats: Stats): Fault {
  if (stats.isDirectory()) return new Fault("TRANSFER_REFUSED", `${what} is a directory`);
  return unsafe("remote path", what.slice(1, -1), "it is a fifo, socket or device");
}
