import { dirname, join } from "node:path";
import type { Disk } from "../../src/journal/disk.ts";
import type { Random } from "./random.ts";

type Change = { readonly at: number; readonly bytes: Buffer } | { readonly truncateTo: number };
type NameChange = { readonly name: string; readonly file: SimulatedFile | undefined };

/** A file: what processes see, and what is on the platter. */
class SimulatedFile {
  readonly seen = new Content();
  readonly durable = new Content();
  /** Seen, not synced; in order. */
  dirty: Change[] = [];

  change(change: Change): void {
    this.seen.apply(change);
    this.dirty.push(change);
  }

  sync(): void {
    for (const change of this.dirty) this.durable.apply(change);
    this.dirty = [];
  }

  /** Power is gone: of what was not synced a first part is there, its last write perhaps torn, or zeros in its place. */
  lose(random: Random): void {
    const kept = random.whole(0, this.dirty.length);
    for (const [index, change] of this.dirty.slice(0, kept + 1).entries()) {
      if (index < kept) this.durable.apply(change);
      else if ("bytes" in change && change.bytes.length > 0 && random.chance(0.7))
        this.durable.apply(torn(change, this.durable.length, random));
    }
    this.dirty = [];
    this.seen.replaceBy(this.durable);
  }
}

function torn(change: { readonly at: number; readonly bytes: Buffer }, before: number, random: Random): Change {
  const length = random.whole(0, change.bytes.length);
  const bytes = Buffer.from(change.bytes.subarray(0, length));
  // A file system may have noted the length, and not yet written the pages.
  if (random.chance(0.2)) bytes.fill(0, Math.min(length, Math.max(before - change.at, random.whole(0, length))));
  return { at: change.at, bytes };
}

class Content {
  #bytes = Buffer.alloc(4096);
  length = 0;

  apply(change: Change): void {
    if ("truncateTo" in change) {
      if (change.truncateTo < this.length) this.#bytes.fill(0, change.truncateTo, this.length);
      this.length = change.truncateTo;
      return;
    }
    const end = change.at + change.bytes.length;
    if (end > this.#bytes.length) {
      const larger = Buffer.alloc(Math.max(end, this.#bytes.length * 2));
      this.#bytes.copy(larger, 0, 0, this.length);
      this.#bytes = larger;
    }
    change.bytes.copy(this.#bytes, change.at);
    this.length = Math.max(this.length, end);
  }

  replaceBy(other: Content): void {
    this.#bytes = Buffer.from(other.#bytes);
    this.length = other.length;
  }

  /** Not to be changed. */
  view(): Buffer {
    return this.#bytes.subarray(0, this.length);
  }
}

class SystemError extends Error {
  readonly code: string;

  constructor(code: string) {
    super(`${code}: simulated`);
    this.code = code;
  }
}

/**
 * A disk with a page cache: writes are seen at once and durable after a sync, names after a sync of their directory. A rename is
 * atomic. `losePower` takes what was not synced. It can be full, and a sync can fail: then the pages count as written and are not.
 */
export class SimulatedDisk implements Disk {
  full = false;
  /** So many syncs to come fail. */
  failingSyncs = 0;
  readOnly = false;
  /** Tells of each sync of a file or directory that was done. */
  onDurable: () => void = () => {};
  readonly #random: Random;
  #directories = new Set(["/"]);
  #durableDirectories = new Set(["/"]);
  /** Names as seen, and as durable. */
  #names = new Map<string, SimulatedFile>();
  #durableNames = new Map<string, SimulatedFile>();
  /** Each entry is one change of the file system's own journal: all of it or nothing. */
  readonly #dirtyNames = new Map<string, (readonly NameChange[])[]>();
  readonly #open = new Map<number, { readonly file: SimulatedFile; position: number }>();
  #nextDescriptor = 3;

  constructor(random: Random) {
    this.#random = random;
  }

  open(path: string, flags: "r" | "r+" | "w" | "w+"): number {
    let file = this.#names.get(path);
    if (flags.startsWith("w")) {
      this.#mayWrite();
      if (!this.#directories.has(dirname(path))) throw new SystemError("ENOENT");
      if (file) file.change({ truncateTo: 0 });
      else this.#name(path, (file = new SimulatedFile()));
    } else if (!file) throw new SystemError("ENOENT");
    else if (flags === "r+") this.#mayWrite();
    const descriptor = this.#nextDescriptor++;
    this.#open.set(descriptor, { file, position: 0 });
    return descriptor;
  }

  read(descriptor: number, into: Buffer, position: number | null): number {
    const open = this.#opened(descriptor);
    const count = open.file.seen.view().copy(into, 0, position ?? open.position);
    if (position === null) open.position += count;
    return count;
  }

  write(descriptor: number, bytes: Buffer, offset: number, position: number): number {
    const { file } = this.#opened(descriptor);
    this.#mayWrite();
    const rest = bytes.subarray(offset);
    if (this.full) {
      const fits = this.#random.chance(0.5) ? 0 : this.#random.whole(0, rest.length - 1);
      if (fits === 0) throw new SystemError("ENOSPC");
      file.change({ at: position, bytes: Buffer.from(rest.subarray(0, fits)) });
      return fits;
    }
    file.change({ at: position, bytes: Buffer.from(rest) });
    return rest.length;
  }

  truncate(descriptor: number, length: number): void {
    this.#opened(descriptor).file.change({ truncateTo: length });
  }

  sync(descriptor: number): void {
    const { file } = this.#opened(descriptor);
    if (this.failingSyncs > 0) {
      this.failingSyncs--;
      file.dirty = [];
      throw new SystemError("EIO");
    }
    file.sync();
    this.onDurable();
  }

  close(descriptor: number): void {
    this.#opened(descriptor);
    this.#open.delete(descriptor);
  }

  rename(from: string, to: string): void {
    const file = this.#names.get(from);
    if (!file) throw new SystemError("ENOENT");
    this.#mayWrite();
    this.#names.set(to, file);
    this.#names.delete(from);
    this.#noteNames(dirname(to), [
      { name: to, file },
      { name: from, file: undefined },
    ]);
  }

  remove(path: string): void {
    if (this.#names.has(path)) this.#name(path, undefined);
  }

  list(directory: string): readonly string[] {
    if (!this.#directories.has(directory)) throw new SystemError("ENOENT");
    return [...this.#names.keys()]
      .filter((path) => dirname(path) === directory)
      .map((path) => path.slice(directory.length + 1));
  }

  makeDirectory(path: string): string | undefined {
    if (this.#directories.has(path)) return undefined;
    this.#mayWrite();
    const first = this.makeDirectory(dirname(path));
    this.#directories.add(path);
    return first ?? path;
  }

  syncDirectory(path: string): void {
    if (!this.#directories.has(path)) throw new SystemError("ENOENT");
    for (const directory of this.#directories) if (dirname(directory) === path) this.#durableDirectories.add(directory);
    for (const { name, file } of this.#dirtyNames.get(path)?.flat() ?? []) this.#setDurable(name, file);
    this.#dirtyNames.delete(path);
    this.onDurable();
  }

  size(path: string): number | undefined {
    return this.#names.get(path)?.seen.length;
  }

  free(_directory: string): number {
    return this.full ? 0 : 1e12;
  }

  /** How many files are open. */
  get openFiles(): number {
    return this.#open.size;
  }

  /** Open files of processes that are gone. */
  closeAll(): void {
    this.#open.clear();
  }

  losePower(): void {
    this.closeAll();
    for (const changes of this.#dirtyNames.values()) {
      const kept = changes.slice(0, this.#random.whole(0, changes.length)).flat();
      for (const { name, file } of kept) this.#setDurable(name, file);
    }
    this.#dirtyNames.clear();
    this.#directories = new Set([...this.#durableDirectories].filter((path) => this.#isReachable(path)));
    this.#durableDirectories = new Set(this.#directories);
    for (const file of new Set([...this.#durableNames.values(), ...this.#names.values()])) file.lose(this.#random);
    this.#names = new Map([...this.#durableNames].filter(([path]) => this.#directories.has(dirname(path))));
    this.#durableNames = new Map(this.#names);
  }

  /** What would be there after the end of power if nothing unsynced survived: name to content, not to be changed. */
  durable(directory: string): ReadonlyMap<string, Buffer> {
    const found = new Map<string, Buffer>();
    if (!this.#isReachable(directory)) return found;
    for (const [path, file] of this.#durableNames) {
      if (dirname(path) === directory) found.set(path.slice(directory.length + 1), file.durable.view());
    }
    return found;
  }

  /** What a process would read. */
  content(path: string): Buffer | undefined {
    return this.#names.get(path)?.seen.view();
  }

  #isReachable(path: string): boolean {
    return path === "/" || (this.#durableDirectories.has(path) && this.#isReachable(dirname(path)));
  }

  #mayWrite(): void {
    if (this.readOnly) throw new SystemError("EROFS");
  }

  #opened(descriptor: number): { readonly file: SimulatedFile; position: number } {
    const open = this.#open.get(descriptor);
    if (!open) throw new SystemError("EBADF");
    return open;
  }

  #name(path: string, file: SimulatedFile | undefined): void {
    if (file) this.#names.set(path, file);
    else this.#names.delete(path);
    this.#noteNames(dirname(path), [{ name: path, file }]);
  }

  #noteNames(directory: string, changes: readonly NameChange[]): void {
    const known = this.#dirtyNames.get(directory);
    if (known) known.push(changes);
    else this.#dirtyNames.set(directory, [changes]);
  }

  #setDurable(path: string, file: SimulatedFile | undefined): void {
    if (file) this.#durableNames.set(path, file);
    else this.#durableNames.delete(path);
  }
}

/** Where the simulated agent keeps its journal. */
export const journalDirectory = join("/state", "journal");
