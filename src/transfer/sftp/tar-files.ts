/** Contents of archives from files and to files, in the thread for transfers: calls block here. */
import { hash } from "node:crypto";
import { closeSync, constants, fstatSync, openSync, readSync, unlinkSync, writeSync } from "node:fs";
import { errnoOf } from "../../common/fault.ts";
import { Directories } from "../directories.ts";
import { sourceChanged } from "../errors.ts";
import type { WrittenFile } from "../types.ts";
import { type FoundMember, memberBytes, padded, writeHeader } from "./tar.ts";

const readFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const writeFlags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/** A file that goes into an archive. */
export interface Packed {
  /** Relative to the root. */
  readonly path: string;
  /** In the archive. */
  readonly name: string;
  readonly bytes: number;
  /** Whole milliseconds since 1970: it must be the same still. */
  readonly mtimeMs: number;
}

/** A piece of an archive: these files below `root`. `keepMode`: with their permissions, else with the usual ones. */
export function pack(root: string, files: readonly Packed[], keepMode: boolean): Uint8Array {
  using directories = new Directories(root, false);
  const piece = Buffer.allocUnsafeSlow(files.reduce((sum, { name, bytes }) => sum + memberBytes(name, bytes), 0));
  let at = 0;
  for (const { path, name, bytes, mtimeMs } of files) {
    const handle = openSync(directories.at(path), readFlags);
    try {
      const stats = fstatSync(handle);
      const same = stats.isFile() && stats.size === bytes && Math.trunc(stats.mtimeMs) === mtimeMs;
      if (!same) throw sourceChanged(`'${path}'`);
      at = writeHeader(piece, at, { name, bytes, mode: keepMode ? stats.mode & 0o777 : 0o666, mtime: mtimeMs / 1000 });
      for (let done = 0; done < bytes;) {
        const count = readSync(handle, piece, at + done, bytes - done, done);
        if (count === 0) throw sourceChanged(`'${path}'`);
        done += count;
      }
    } finally {
      closeSync(handle);
    }
    piece.fill(0, at + bytes, at + padded(bytes));
    at += padded(bytes);
  }
  return piece;
}

/** Writes members of an archive below `directory` under their paths, over whatever an earlier try left there; says what of each. */
export function unpack(
  directory: string,
  members: readonly (FoundMember & { readonly path: string })[],
  piece: Uint8Array,
): readonly WrittenFile[] {
  using directories = new Directories(directory, true);
  return members.map(({ path, at, bytes }) => {
    const handle = openNew(directories.at(path));
    try {
      for (let done = 0; done < bytes;) done += writeSync(handle, piece, at + done, bytes - done, done);
      const sha256 = hash("sha256", piece.subarray(at, at + bytes), "hex");
      return { bytes, sha256, mtimeMs: fstatSync(handle).mtimeMs };
    } finally {
      closeSync(handle);
    }
  });
}

function openNew(path: string): number {
  try {
    return openSync(path, writeFlags, 0o644);
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw error;
    unlinkSync(path);
    return openSync(path, writeFlags, 0o644);
  }
}
