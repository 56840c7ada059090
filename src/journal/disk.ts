import {
  closeSync,
  fdatasyncSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeSync,
} from "node:fs";

/**
 * What the journal needs of a file system; all calls may block as long as a disk takes and throw Node's system errors. Paths are
 * absolute. Given to the writing thread so that the simulation can put a disk in its place that loses power, fills up and lies.
 */
export interface Disk {
  /** `w` and `w+` make an empty file (0600). */
  open(path: string, flags: "r" | "r+" | "w" | "w+"): number;
  /** Bytes read into all of `into`; from the file's own position when `position` is null; 0 = end. */
  read(file: number, into: Buffer, position: number | null): number;
  /** Writes from `offset` of `bytes`; answers how many were taken. */
  write(file: number, bytes: Buffer, offset: number, position: number): number;
  truncate(file: number, length: number): void;
  /** Content and length are on the disk when this has returned. */
  sync(file: number): void;
  close(file: number): void;
  rename(from: string, to: string): void;
  /** No error when it is not there. */
  remove(path: string): void;
  /** Names in a directory. */
  list(directory: string): readonly string[];
  /** Makes a directory (0700) with those above it where they are missing; the first one that was made, if any. */
  makeDirectory(path: string): string | undefined;
  /** Renames, new and removed names in it are on the disk when this has returned. */
  syncDirectory(path: string): void;
  /** Bytes of a file; undefined = not there. */
  size(path: string): number | undefined;
  /** Bytes that we could still write below a directory. */
  free(directory: string): number;
}

/** The file system of this machine. */
export const systemDisk: Disk = {
  open: (path, flags) => openSync(path, flags, 0o600),
  read: (file, into, position) => readSync(file, into, 0, into.length, position),
  write: (file, bytes, offset, position) => writeSync(file, bytes, offset, bytes.length - offset, position),
  truncate: (file, length) => ftruncateSync(file, length),
  sync: (file) => fdatasyncSync(file),
  close: (file) => closeSync(file),
  rename: (from, to) => renameSync(from, to),
  remove: (path) => rmSync(path, { force: true }),
  list: (directory) => readdirSync(directory),
  makeDirectory: (path) => mkdirSync(path, { recursive: true, mode: 0o700 }),
  syncDirectory(path) {
    const handle = openSync(path, "r");
    try {
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
  },
  size: (path) => statSync(path, { throwIfNoEntry: false })?.size,
  free(directory) {
    const { bavail, bsize } = statfsSync(directory);
    return bavail * bsize;
  },
};

/** Writes all of `bytes` from `position` on. */
export function writeAll(disk: Disk, file: number, bytes: Buffer, position: number): void {
  for (let done = 0; done < bytes.length;) done += disk.write(file, bytes, done, position + done);
}
