/** Puts one file to a remote: a partial name beside the final one, all bytes, sync, comparison, rename. */
import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import type { Stats } from "ssh2";
import { failpoint } from "../../common/failpoint.ts";
import { Fault, isFault } from "../../common/fault.ts";
import { advanced, digestMismatch } from "../errors.ts";
import { readPieces } from "../landing.ts";
import { progressBytes } from "../fetch.ts";
import { partialName, partSuffix } from "../paths.ts";
import type { TransferContext, WriteInfo } from "../types.ts";
import { destinationDirectory, refuseExisting, renameOver } from "./destination.ts";
import { readBackBytes, type RemoteDigests } from "./digests.ts";
import { fullFault, sftpFault, status, statusOf } from "./faults.ts";
import { writeThrough } from "./flow.ts";
import { destinationOf, type Place } from "./place.ts";
import { differingRange, wholeBytes } from "./sample.ts";

/** Flags of SSH_FXP_OPEN (draft-ietf-secsh-filexfer-02, section 6.3). */
const flags = { read: 1, write: 2, create: 8, exclusive: 32 } as const;

/** What now lies at the final name, as the server tells it. */
export interface Written {
  readonly bytes: number;
  readonly mtime: number;
  /** Undefined: the site file wants sizes alone, or samples. */
  readonly sha256: string | undefined;
  /** Some ranges were compared. */
  readonly sampled: boolean;
}

/** What all writes of an adapter share. */
export interface WriteMemory {
  readonly digests: RemoteDigests;
  /** Where the last try of a partial file began that was then lost, by path. */
  readonly began: Map<string, number>;
}

/** @throws Fault as `TransferAdapter.write` says. What was written stays as a partial file if a later try can go on with it. */
export async function writeRemote(
  place: Place,
  localPath: string,
  info: WriteInfo,
  memory: WriteMemory,
  context: TransferContext,
): Promise<Written> {
  const writing = new Writing(place, info, memory, context);
  try {
    return await writing.run(localPath);
  } catch (error) {
    throw await writing.faultOf(error);
  }
}

class Writing {
  readonly #place: Place;
  readonly #info: WriteInfo;
  readonly #memory: WriteMemory;
  readonly #context: TransferContext;
  #partial: string | undefined;
  #offset = 0;
  /** Bytes that the server has acknowledged in this try. */
  #written = 0;

  constructor(place: Place, info: WriteInfo, memory: WriteMemory, context: TransferContext) {
    this.#place = place;
    this.#info = info;
    this.#memory = memory;
    this.#context = context;
  }

  async run(localPath: string): Promise<Written> {
    const { files, settings } = this.#place.access;
    await failpoint("transfer.before-write");
    const directory = await destinationDirectory(this.#place, this.#context);
    await refuseExisting(this.#place, this.#context);
    const suffix = partSuffix(this.#place.path, this.#info.sha256, String(this.#info.bytes));
    const partial = `${directory === "/" ? "" : directory}/${partialName(this.#info.token, suffix)}`;
    this.#partial = partial;
    await using source = await open(localPath, "r");
    const { handle, offset } = await this.#openPart(partial, source);
    this.#offset = offset;
    // What lies there was compared whole when it was opened.
    const isCompared = offset === this.#info.bytes && offset > 0;
    let written: Written;
    try {
      const range = {
        offset,
        size: this.#info.bytes,
        onWritten: (bytes: number) => {
          this.#written += bytes;
        },
      };
      await writeThrough(files, handle, source, range, this.#context);
      if (settings.preserve) await this.#preserve(handle, source);
      written = await this.#check(handle, partial, isCompared ? undefined : source);
    } finally {
      await this.#close(handle);
    }
    await failpoint("transfer.before-rename");
    await renameOver(files, partial, this.#place.path, this.#context);
    this.#forget(partial);
    await failpoint("transfer.after-rename");
    await failpoint("transfer.after-write");
    return written;
  }

  /** The fault for what went wrong; a partial file that no later try can use is removed. */
  async faultOf(error: unknown): Promise<unknown> {
    const { access, what } = this.#place;
    const cause = statusOf(error) === status.failure ? await this.#fullOr(error) : error;
    const fault = sftpFault(cause, what);
    if (this.#context.signal.aborted) return fault;
    const lost = isFault(fault, "UNREACHABLE");
    if (this.#partial !== undefined && !lost && isFault(fault)) {
      const partial = this.#partial;
      this.#forget(partial);
      await access.files.call(this.#context, (sftp, done) => sftp.unlink(partial, done)).catch(() => undefined);
    }
    if (!lost || this.#partial === undefined) return fault;
    // Much of what was sent arrived although nobody said so: where this try began tells how far the last one came.
    const { began } = this.#memory;
    const further = Math.max(this.#written, this.#offset - (began.get(this.#partial) ?? this.#offset));
    began.set(this.#partial, Math.max(this.#offset, began.get(this.#partial) ?? 0));
    return further >= progressBytes ? advanced(fault) : fault;
  }

  /** Opens the partial file; what an earlier try left of the same content counts, after its digest was compared. */
  async #openPart(partial: string, source: FileHandle): Promise<{ readonly handle: Buffer; readonly offset: number }> {
    const { files } = this.#place.access;
    const there = await files.maybe<Stats>(this.#context, (sftp, done) => sftp.lstat(partial, done));
    if (there?.isFile() && there.size > 0 && there.size <= this.#info.bytes) {
      const handle = await this.#open(partial, flags.read | flags.write);
      if (await this.#isBeginning(handle, partial, there.size, source)) return { handle, offset: there.size };
      await this.#close(handle);
    }
    this.#forget(partial);
    // Opening follows links: only a name that nobody has is written to.
    if (there) await files.maybe(this.#context, (sftp, done) => sftp.unlink(partial, done));
    const handle = await this.#open(partial, flags.read | flags.write | flags.create | flags.exclusive);
    return { handle, offset: 0 };
  }

  #open(path: string, how: number): Promise<Buffer> {
    return this.#place.access.files.call<Buffer>(this.#context, (sftp, done) => sftp.open(path, how, done));
  }

  async #isBeginning(handle: Buffer, partial: string, bytes: number, source: FileHandle): Promise<boolean> {
    // Nothing would notice a hole in it, or to read it back would take as long as to send it.
    if (!this.#isCompared(bytes)) return false;
    const there = await this.#digest(handle, partial, bytes);
    if (bytes === this.#info.bytes) return there === this.#info.sha256;
    const hash = createHash("sha256");
    let left = bytes;
    for await (const piece of readPieces(source, 0, this.#context.signal)) {
      hash.update(piece.subarray(0, left));
      left -= Math.min(left, piece.byteLength);
      if (left === 0) break;
    }
    return hash.digest("hex") === there;
  }

  /** The partial file has gone, or will be another. */
  #forget(partial: string): void {
    this.#memory.began.delete(partial);
    this.#memory.digests.readBacks.forget(this.#place.access, partial);
  }

  /** Durable where the server can, and all that was sent; before the final name is given. `source`: what is to be compared with it, if it is yet. */
  async #check(handle: Buffer, partial: string, source: FileHandle | undefined): Promise<Written> {
    const { access, what } = this.#place;
    const { bytes, sha256 } = this.#info;
    const [, stats] = await Promise.all([
      access.files.extension(this.#context, (sftp, done) => sftp.ext_openssh_fsync(handle, done)),
      access.files.call<Stats>(this.#context, (sftp, done) => sftp.fstat(handle, done)),
    ]);
    if (stats.size !== bytes) {
      throw new Fault("TRANSFER", `${what} has ${stats.size} bytes there after ${bytes} were to be sent`);
    }
    const { mtime } = stats;
    if (!source) return { bytes, mtime, sha256, sampled: false };
    if (access.settings.verify === "size") return { bytes, mtime, sha256: undefined, sampled: false };
    if (access.settings.verify === "sample" && bytes > wholeBytes) {
      await this.#compareSample(handle, source);
      return { bytes, mtime, sha256: undefined, sampled: true };
    }
    const actual = await this.#digest(handle, partial, bytes);
    if (actual !== sha256) throw digestMismatch(what, sha256, actual);
    return { bytes, mtime, sha256: actual, sampled: false };
  }

  async #compareSample(handle: Buffer, source: FileHandle): Promise<void> {
    const { access, what } = this.#place;
    const range = await differingRange(access.files, handle, source, this.#info.bytes, this.#context);
    if (!range) return;
    throw new Fault("DIGEST_MISMATCH", `bytes ${range.offset} to ${range.end} of ${what} are not what was sent`, {
      hint: "something on the way altered it, or it changed here while it was sent",
    });
  }

  /** Whether what lies there of an earlier try can be told from something else. */
  #isCompared(bytes: number): boolean {
    const { access } = this.#place;
    if (access.settings.verify === "digest") return true;
    const byCommand = bytes > readBackBytes && this.#memory.digests.canAsk(access, this.#context);
    return access.settings.verify === "sample" && byCommand;
  }

  async #digest(handle: Buffer, partial: string, bytes: number): Promise<string> {
    const { access } = this.#place;
    if (bytes > readBackBytes && this.#memory.digests.canAsk(access, this.#context)) {
      const found = await this.#memory.digests.ofMany(access, [{ path: partial, bytes }], this.#context);
      const digest = found.get(partial);
      if (digest !== undefined) return digest;
    }
    return (await this.#memory.digests.readBacks.digest(access, { handle, bytes, name: partial }, this.#context))
      .sha256;
  }

  async #preserve(handle: Buffer, source: FileHandle): Promise<void> {
    const { mode, atimeMs, mtimeMs } = await source.stat();
    const attributes = { mode: mode & 0o777, atime: Math.trunc(atimeMs / 1000), mtime: Math.trunc(mtimeMs / 1000) };
    await this.#place.access.files.call(this.#context, (sftp, done) => sftp.fsetstat(handle, attributes, done));
  }

  async #close(handle: Buffer): Promise<void> {
    // Nobody needs the answer, and a lost session has no handles.
    await this.#place.access.files.call(this.#context, (sftp, done) => sftp.close(handle, done)).catch(() => undefined);
  }

  async #fullOr(error: unknown): Promise<unknown> {
    const { root } = destinationOf(this.#place);
    const room = await this.#place.access.files
      .extension<FreeSpace>(this.#context, (sftp, done) => sftp.ext_openssh_statvfs(root, done))
      .catch(() => undefined);
    if (!room) return error;
    const { f_bavail, f_frsize, f_files, f_favail } = room.value;
    const full = f_bavail * f_frsize < this.#info.bytes - this.#written || (f_files > 0 && f_favail === 0);
    return full ? fullFault(this.#place.what, error) : error;
  }
}

/** Of statvfs@openssh.com. */
interface FreeSpace {
  readonly f_frsize: number;
  readonly f_bavail: number;
  readonly f_files: number;
  readonly f_favail: number;
}
