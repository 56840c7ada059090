/** Files below a directory of a remote. The protocol has no recursion: directories are read one by one, several at a time. */
import { constants } from "node:fs";
import type { Attributes, FileEntryWithStats } from "ssh2";
import type { CallContext } from "../../common/context.ts";
import { throwIfStopped } from "../errors.ts";
import { unsafe } from "../paths.ts";
import { isWithin, type Selection } from "../tree.ts";
import { sftpFault, statusOf } from "./faults.ts";
import { type Place, realRoots } from "./place.ts";
import type { SftpCalls } from "./types.ts";

/** Directories, or links, that are looked at at the same time. */
const atOnce = 16;
/** Directory links on one way; without a limit ten links per level would make ten to the depth visits. */
const mostLinks = 4;
const endOfFile = 1;
/** Of one directory, before they are handed on. */
const entriesAtOnce = 1_000;

/** A regular file below the directory that was walked. */
export interface FoundFile {
  /** Relative to the start, with `/`. */
  readonly path: string;
  /** Absolute, links resolved. */
  readonly real: string;
  readonly attributes: Attributes;
}

interface Directory {
  readonly path: string;
  readonly real: string;
  /** Real paths on the way here. */
  readonly above: readonly string[];
  readonly links: number;
}

/**
 * The selected regular files below `start` (its real path), in no order. Links are followed as long as they stay in what the policy
 * names and make no loop. @throws Fault UNSAFE_PATH for selected links that leave, special files and names that are no UTF-8.
 */
export async function* walkRemote(
  place: Place,
  start: string,
  selection: Selection,
  context: CallContext,
): AsyncGenerator<FoundFile> {
  const walker = new Walker(place, selection, await realRoots(place, context), context);
  const waiting: Directory[] = [{ path: "", real: start, above: [], links: 0 }];
  while (waiting.length > 0) {
    // The newest first: those that wait are the neighbours of the directories on one way, not all of a level.
    const visits = waiting.splice(-atOnce).map((directory) => walker.begin(directory));
    try {
      while (visits.some((visit) => !visit.isOver)) {
        await Promise.all(visits.map((visit) => visit.goOn()));
        for (const { files } of visits) yield* files.splice(0);
      }
    } finally {
      await Promise.all(visits.map((visit) => visit.close()));
    }
    for (const { directories } of visits) for (const directory of directories) waiting.push(directory);
  }
}

/** One directory, read some entries at a time. */
class Visit {
  readonly files: FoundFile[] = [];
  readonly directories: Directory[] = [];
  readonly #directory: Directory;
  readonly #place: Place;
  readonly #context: CallContext;
  readonly #sort: (entries: readonly FileEntryWithStats[], visit: Visit) => Promise<void>;
  #handle: Buffer | undefined;
  #isOver = false;

  constructor(
    directory: Directory,
    { place, context }: { readonly place: Place; readonly context: CallContext },
    sort: (entries: readonly FileEntryWithStats[], visit: Visit) => Promise<void>,
  ) {
    this.#directory = directory;
    this.#place = place;
    this.#context = context;
    this.#sort = sort;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Until there are so many files that they are better taken away, or it is over. */
  async goOn(): Promise<void> {
    const { files } = this.#place.access;
    try {
      this.#handle ??= await files.call<Buffer>(this.#context, (sftp, done) =>
        sftp.opendir(this.#directory.real, done),
      );
      const handle = this.#handle;
      while (!this.#isOver && this.files.length < entriesAtOnce) {
        const some = await someEntries(files, handle, this.#context);
        if (some) await this.#sort(some, this);
        else this.#isOver = true;
      }
    } catch (error) {
      throw sftpFault(error, `${this.#place.what} ${this.#directory.path}`.trim());
    }
    if (this.#isOver) await this.close();
  }

  async close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    this.#isOver = true;
    if (!handle) return;
    const { files } = this.#place.access;
    await files.call(this.#context, (sftp, done) => sftp.close(handle, done)).catch(() => undefined);
  }
}

class Walker {
  readonly #place: Place;
  readonly #selection: Selection;
  readonly #roots: readonly string[];
  readonly #context: CallContext;

  constructor(place: Place, selection: Selection, roots: readonly string[], context: CallContext) {
    this.#place = place;
    this.#selection = selection;
    this.#roots = roots;
    this.#context = context;
  }

  begin(directory: Directory): Visit {
    return new Visit(directory, { place: this.#place, context: this.#context }, (entries, visit) =>
      this.#sort(directory, entries, visit),
    );
  }

  async #sort(directory: Directory, entries: readonly FileEntryWithStats[], visit: Visit): Promise<void> {
    const links: { readonly path: string; readonly real: string }[] = [];
    for (const { filename, attrs } of entries) {
      const path = directory.path === "" ? filename : `${directory.path}/${filename}`;
      const real = `${directory.real === "/" ? "" : directory.real}/${filename}`;
      const wanted = this.#selection.wantsFile(path);
      if (!wanted && !this.#selection.entersDirectory(path)) continue;
      if (filename.includes("\uFFFD")) {
        if (wanted || typeOf(attrs) === constants.S_IFDIR) throw this.#unsafe(path, "it is not valid UTF-8");
        continue;
      }
      const type = typeOf(attrs);
      if (type === constants.S_IFDIR) {
        if (this.#selection.entersDirectory(path)) visit.directories.push(this.#below(directory, path, real, false));
      } else if (type === constants.S_IFREG) {
        if (wanted) visit.files.push({ path, real, attributes: attrs });
      } else if (type === constants.S_IFLNK || type === undefined) links.push({ path, real });
      else if (wanted) throw this.#unsafe(path, "it is a fifo, socket or device");
    }
    for (let at = 0; at < links.length; at += atOnce) {
      await Promise.all(links.slice(at, at + atOnce).map((link) => this.#follow(directory, link, visit)));
    }
  }

  /** Where a link leads; also what a server says no type of. */
  async #follow(
    directory: Directory,
    { path, real }: { readonly path: string; readonly real: string },
    visit: Visit,
  ): Promise<void> {
    const { files } = this.#place.access;
    const wanted = this.#selection.wantsFile(path);
    const refuse = (problem: string): void => {
      if (wanted) throw this.#unsafe(path, problem);
    };
    const [stats, target] = await Promise.all([
      files.call<Attributes>(this.#context, (sftp, done) => sftp.stat(real, done)).catch(ifRefused),
      files.call<string>(this.#context, (sftp, done) => sftp.realpath(real, done)).catch(ifRefused),
    ]);
    if (!stats || target === undefined) return refuse("it is a symbolic link to nothing, or a loop of links");
    if (!this.#roots.some((root) => isWithin(target, root)))
      return refuse("it is a symbolic link that leaves its root");
    const type = typeOf(stats);
    if (type === constants.S_IFDIR) {
      const above = [...directory.above, directory.real];
      if (above.some((one) => isWithin(one, target))) return refuse("it is a symbolic link to a directory above it");
      if (directory.links >= mostLinks) return refuse(`it is the ${mostLinks + 1}th directory link on the way`);
      if (this.#selection.entersDirectory(path)) visit.directories.push(this.#below(directory, path, target, true));
    } else if (type !== constants.S_IFREG) refuse("it leads to a fifo, socket or device");
    else if (wanted) visit.files.push({ path, real: target, attributes: stats });
  }

  #below(directory: Directory, path: string, real: string, link: boolean): Directory {
    return {
      path,
      real,
      above: [...directory.above, directory.real],
      links: directory.links + Number(link),
    };
  }

  #unsafe(path: string, problem: string): Error {
    return unsafe(`source ${this.#place.what}:`, path, problem);
  }
}

/** The next names of an open directory with what the server says of them; undefined after the last. @throws Error as `SftpCalls` */
export async function someEntries(
  files: SftpCalls,
  handle: Buffer,
  context: CallContext,
): Promise<readonly FileEntryWithStats[] | undefined> {
  throwIfStopped(context.signal);
  try {
    return await files.call<readonly FileEntryWithStats[]>(context, (sftp, done) =>
      // By handle: an answer for each part of the directory, so that a large one does not seem to hang.
      sftp.readdir(handle as unknown as string, done),
    );
  } catch (error) {
    if (statusOf(error) !== endOfFile) throw error;
    return undefined;
  }
}

/** Bits of the type; undefined where the server tells none. */
function typeOf({ mode }: Attributes): number | undefined {
  const type = (mode ?? 0) & constants.S_IFMT;
  return type === 0 ? undefined : type;
}

function ifRefused(error: unknown): undefined {
  if (statusOf(error) === undefined) throw error;
}
