import type { BigIntStats, Dirent } from "node:fs";
import { lstat, opendir, realpath, stat } from "node:fs/promises";
import { matchesGlob } from "node:path/posix";
import { errnoOf } from "../common/fault.ts";
import { compilePattern } from "../common/path-pattern.ts";
import { throwIfStopped } from "./errors.ts";
import { decodeName, unsafe } from "./paths.ts";

/** Directory links inside linked directories; without a limit ten links per level would make ten to the depth visits. */
const mostLinks = 4;

/** A regular file below the directory that was walked. */
export interface FoundFile {
  /** Relative to the start, with `/`. */
  readonly path: string;
  /** Absolute, with all symbolic links resolved. */
  readonly real: string;
  readonly stats: BigIntStats;
}

export interface WalkOptions {
  /** Real paths; a symbolic link that leads outside all of them is refused, if it is wanted. */
  readonly roots: readonly string[];
  readonly selection: Selection;
  /** What the names belong to, for errors: `input 'reads'`. */
  readonly field: string;
  readonly signal: AbortSignal;
}

/** Which relative paths are meant. */
export interface Selection {
  wantsFile(path: string): boolean;
  entersDirectory(path: string): boolean;
}

/**
 * `include` (empty = all) and `exclude` on paths relative to the item's directory; for kind `glob` also `pattern`. Patterns
 * are those of `src/common/path-pattern.ts`. An excluded directory is not entered. Names that begin with a dot are
 * matched by patterns that say so only, except that kind `directory` without `include` takes them.
 */
export function selection(filters: {
  readonly pattern?: string | undefined;
  readonly include: readonly string[];
  readonly exclude: readonly string[];
}): Selection {
  const { pattern, include, exclude } = filters;
  const depth = pattern === undefined || pattern.includes("**") ? Infinity : pattern.split("/").length;
  const [included, left] = [include, exclude].map((patterns) => patterns.map(compilePattern));
  const excluded = (path: string): boolean => left?.some((matches) => matches(path)) === true;
  return {
    wantsFile: (path) =>
      (pattern === undefined || matchesGlob(path, pattern)) &&
      (include.length === 0 || included?.some((matches) => matches(path)) === true) &&
      !excluded(path),
    entersDirectory: (path) => path.split("/").length < depth && !excluded(path),
  };
}

/** Splits a relative pattern into its literal directory and the rest. */
export function splitPattern(segments: readonly string[]): {
  readonly base: readonly string[];
  readonly pattern: string;
} {
  const first = segments.findIndex((segment) => /[*?[{]/.test(segment));
  const cut = first === -1 ? segments.length - 1 : first;
  return { base: segments.slice(0, cut), pattern: segments.slice(cut).join("/") };
}

/** True when `path` is `root` or lies below it (text comparison; both real paths). */
export function isWithin(path: string, root: string): boolean {
  return path === root || path.startsWith(root.endsWith("/") ? root : `${root}/`);
}

/**
 * The selected regular files below the real path `start`, in no order. Symbolic links are followed as long as they stay in
 * `roots` and make no loop. Throws UNSAFE_PATH for selected links that leave, special files and names that are no UTF-8.
 */
export async function* walk(start: string, options: WalkOptions): AsyncGenerator<FoundFile> {
  yield* walkDirectory({ path: "", real: start, above: [], links: 0 }, options);
}

interface Place {
  readonly path: string;
  readonly real: string;
  /** Real paths on the way here. */
  readonly above: readonly string[];
  /** Links to directories that were followed on the way. */
  readonly links: number;
}

async function* walkDirectory(place: Place, options: WalkOptions): AsyncGenerator<FoundFile> {
  const below: Dirent<Buffer>[] = [];
  for await (const entry of await entriesOf(place.real)) {
    throwIfStopped(options.signal);
    // Entered when this one is closed: however deep a tree is, one directory of it is open.
    if (!entry.isFile()) below.push(entry);
    else yield* walkChild(place, entry, options);
  }
  for (const entry of below) yield* walkChild(place, entry, options);
}

async function* walkChild(place: Place, entry: Dirent<Buffer>, options: WalkOptions): AsyncGenerator<FoundFile> {
  throwIfStopped(options.signal);
  const child = childOf(place, entry, options);
  if (child) yield* walkEntry(child, entry, options);
}

/** Some at a time, with their names as bytes, which the types of Node do not know of. */
async function entriesOf(directory: string): Promise<AsyncIterable<Dirent<Buffer>>> {
  const encoding = "buffer" as BufferEncoding;
  return (await opendir(directory, { encoding, bufferSize: 256 })) as unknown as AsyncIterable<Dirent<Buffer>>;
}

function childOf(place: Place, entry: Dirent<Buffer>, options: WalkOptions): Place | undefined {
  const lossy = entry.name.toString("utf8");
  const path = place.path === "" ? lossy : `${place.path}/${lossy}`;
  const meant = options.selection.wantsFile(path) || (!entry.isFile() && options.selection.entersDirectory(path));
  if (!meant) return undefined;
  const name = decodeName(entry.name, place.path, options.field);
  return {
    path,
    real: `${place.real === "/" ? "" : place.real}/${name}`,
    above: [...place.above, place.real],
    links: place.links,
  };
}

async function* walkEntry(child: Place, entry: Dirent<Buffer>, options: WalkOptions): AsyncGenerator<FoundFile> {
  const { selection: wanted, field } = options;
  if (entry.isSymbolicLink()) {
    const target = await followLink(child, options);
    if (target)
      yield* target.stats.isDirectory()
        ? walkDirectory({ ...child, real: target.real, links: child.links + 1 }, options)
        : [target];
  } else if (entry.isDirectory()) {
    if (wanted.entersDirectory(child.path)) yield* walkDirectory(child, options);
  } else if (wanted.wantsFile(child.path)) {
    if (!entry.isFile()) throw unsafe(field, child.path, "it is a fifo, socket or device");
    yield { path: child.path, real: child.real, stats: await lstat(child.real, { bigint: true }) };
  }
}

/** Where a link leads, or undefined when it is not meant. */
async function followLink(child: Place, options: WalkOptions): Promise<FoundFile | undefined> {
  const { selection: wanted, field } = options;
  const refuse = (problem: string): undefined => {
    if (wanted.wantsFile(child.path)) throw unsafe(field, child.path, problem);
    return undefined;
  };
  let real: string;
  try {
    real = await realpath(child.real);
  } catch (error) {
    return refuse(errnoOf(error) === "ELOOP" ? "it is a loop of symbolic links" : "it is a symbolic link to nothing");
  }
  if (!options.roots.some((root) => isWithin(real, root))) return refuse("it is a symbolic link that leaves its root");
  const stats = await stat(real, { bigint: true });
  if (stats.isDirectory()) {
    if (child.above.some((above) => isWithin(above, real)))
      return refuse("it is a symbolic link to a directory above it");
    if (child.links >= mostLinks) return refuse(`it is the ${mostLinks + 1}th directory link on the way`);
    return wanted.entersDirectory(child.path) ? { path: child.path, real, stats } : undefined;
  }
  if (!wanted.wantsFile(child.path)) return undefined;
  if (!stats.isFile()) throw unsafe(field, child.path, "it leads to a fifo, socket or device");
  return { path: child.path, real, stats };
}
