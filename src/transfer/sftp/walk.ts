/** Files below a directory of a remote. The protocol has no recursion: directories are read one by one, several at a time. */
import { constants } from "node:fs";
import type { Attributes, FileEntryWithStats } from "ssh2";
import type { CallContext } from "../../common/context.ts";
import { refuseTooMany, throwIfStopped } from "../errors.ts";
import { unsafe } from "../paths.ts";
import { isWithin, type Selection } from "../tree.ts";
import { sftpFault, statusOf } from "./faults.ts";
import { type Place, realRoots } from "./place.ts";

/** Directories, or links, that are looked at at the same time. */
const atOnce = 16;
/** Directory links on one way; without a limit ten links per level would make ten to the depth visits. */
const mostLinks = 4;
const endOfFile = 1;

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
export async function walkRemote(
  place: Place,
  start: string,
  selection: Selection,
  context: CallContext,
): Promise<readonly FoundFile[]> {
  const walker = new Walker(place, selection, await realRoots(place, context), context);
  const found: FoundFile[] = [];
  let level: Directory[] = [{ path: "", real: start, above: [], links: 0 }];
  while (level.length > 0) {
    const some = level.splice(0, atOnce);
    for (const { files, directories } of await Promise.all(some.map((directory) => walker.visit(directory)))) {
      for (const file of files) found.push(file);
      refuseTooMany(place.what, found.length);
      level = level.concat(directories);
    }
  }
  return found;
}

interface Visit {
  readonly files: FoundFile[];
  readonly directories: Directory[];
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

  async visit(directory: Directory): Promise<Visit> {
    const visit: Visit = { files: [], directories: [] };
    const links: { readonly path: string; readonly real: string }[] = [];
    for (const { filename, attrs } of await this.#entries(directory)) {
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
    return visit;
  }

  async #entries({ path, real }: Directory): Promise<readonly FileEntryWithStats[]> {
    const { files } = this.#place.access;
    const handle = await files.call<Buffer>(this.#context, (sftp, done) => sftp.opendir(real, done));
    const entries: FileEntryWithStats[] = [];
    try {
      for (;;) {
        throwIfStopped(this.#context.signal);
        const some = await files.call<readonly FileEntryWithStats[]>(this.#context, (sftp, done) =>
          // By handle: an answer for each part of the directory, so that a large one does not seem to hang.
          sftp.readdir(handle as unknown as string, done),
        );
        for (const entry of some) entries.push(entry);
      }
    } catch (error) {
      if (statusOf(error) !== endOfFile) throw sftpFault(error, `${this.#place.what} ${path}`.trim());
      return entries;
    } finally {
      await files.call(this.#context, (sftp, done) => sftp.close(handle, done)).catch(() => undefined);
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

/** Bits of the type; undefined where the server tells none. */
function typeOf({ mode }: Attributes): number | undefined {
  const type = (mode ?? 0) & constants.S_IFMT;
  return type === 0 ? undefined : type;
}

function ifRefused(error: unknown): undefined {
  if (statusOf(error) === undefined) throw error;
}
