/**
 * Confinement: names that come from jobs, servers or programs never reach a file outside a given root. Checked at use, not
 * before: directories are walked component by component through open handles (`/proc/self/fd/N/name` is Linux's `openat`), so
 * that swapping a directory for a symbolic link meanwhile gains nothing.
 */
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, lstat, mkdir, open } from "node:fs/promises";
import { Fault, errnoOf } from "../common/fault.ts";
import { quoted } from "../common/nearest.ts";

const longestNameBytes = 255;
const longestPathBytes = 3_072; // below PATH_MAX with room for a root
const partialPrefix = ".part-";

/** Name of a partial file; `suffix` is made of letters, digits and `-`. */
export function partialName(token: string, suffix: string): string {
  return `${partialPrefix}${token}-${suffix}`;
}

/** A suffix that is always the same for the same `parts` and differs for others. */
export function partSuffix(...parts: readonly string[]): string {
  return createHash("sha256").update(parts.join("\0")).digest("hex").slice(0, 16);
}

/** True for the partial files of `token`, or of any job when it is not given. */
export function isPartialName(name: string, token?: string): boolean {
  if (token !== undefined) return name.startsWith(`${partialPrefix}${token}-`);
  return /^\.part-[a-z][a-z0-9]{14}-/.test(name);
}

/**
 * The components of a relative path with `/` between them. Throws UNSAFE_PATH, naming `field` and the value, for anything that
 * could lead elsewhere or that file systems treat differently: absolute, `..`, empty or `.` components, control characters,
 * trailing dots, over-long names, text that is no Unicode, names of our own partial files.
 */
export function relativeSegments(path: string, field: string): readonly string[] {
  const problem = pathProblem(path);
  if (problem !== undefined) throw unsafe(field, path, problem);
  return path.split("/");
}

/** Why `path` is not a safe relative path; undefined when it is one. */
export function pathProblem(path: string): string | undefined {
  if (path === "") return "it is empty";
  if (path.startsWith("/")) return "it is absolute; a path below the job's directory is expected";
  if (Buffer.byteLength(path) > longestPathBytes) return `it is longer than ${longestPathBytes} bytes`;
  for (const segment of path.split("/")) {
    const problem = segmentProblem(segment);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function segmentProblem(segment: string): string | undefined {
  if (segment === "") return "it has an empty component";
  if (segment === "." || segment === "..") return `it has the component '${segment}'`;
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\u0000-\u001f\u007f-\u009f]/.test(segment)) return "it has a control character";
  if (!segment.isWellFormed() || segment.includes("\ufffd")) return "it is not valid Unicode";
  if (segment.includes("\\")) return "it has a backslash";
  if (segment.endsWith(".")) return "a component ends with a dot";
  if (Buffer.byteLength(segment) > longestNameBytes) return `a component is longer than ${longestNameBytes} bytes`;
  if (isPartialName(segment)) return "names that begin with '.part-' and a token are siteagent's own";
  return undefined;
}

/** The fault for a name or path that is not allowed. */
export function unsafe(field: string, value: string, problem: string, cause?: unknown): Fault {
  return new Fault("UNSAFE_PATH", `${field} ${quoted(value, 200)} is refused: ${problem}`, {
    details: { field, problem },
    ...(cause === undefined ? {} : { cause }),
  });
}

/** A path, and what file systems that ignore case or Unicode form make of it. */
export interface FoldedPath {
  readonly path: string;
  /** Ordered so that a directory comes right before what is in it. */
  readonly folded: string;
}

export function foldedPath(path: string): FoldedPath {
  return { path, folded: fold(path).replaceAll("/", "\0") };
}

/**
 * To be asked of all that follow each other when they are sorted by `folded`. Throws UNSAFE_PATH when the two name the same file on a
 * file system that ignores case or Unicode form, or when the first is a directory of the second.
 */
export function refuseNeighbours(first: FoldedPath, second: FoldedPath, field: string): void {
  if (first.folded === second.folded) {
    throw unsafe(
      field,
      second.path,
      `it collides with ${quoted(first.path, 200)} (equal but for case or Unicode form)`,
    );
  }
  if (second.folded.startsWith(`${first.folded}\0`))
    throw unsafe(field, first.path, `it is also a directory of ${quoted(second.path, 200)}`);
}

function fold(path: string): string {
  return path.normalize("NFC").toUpperCase().toLowerCase().normalize("NFC");
}

/** Text of a name as the directory holds it; throws UNSAFE_PATH when the bytes are no UTF-8. */
export function decodeName(bytes: Uint8Array, directory: string, field: string): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const text = buffer.toString("utf8");
  if (!text.includes("\ufffd")) return text;
  throw unsafe(
    field,
    `${directory === "" ? "" : `${directory}/`}${buffer.toString("latin1")}`,
    "it is not valid UTF-8",
  );
}

/** An open directory below a root; names are resolved against the handle, not against a path. */
export interface OpenDirectory extends AsyncDisposable {
  /** A path of `name` in this very directory, for any file call while the handle is open. */
  at(name: string): string;
  sync(): Promise<void>;
}

const directoryFlags = constants.O_RDONLY | constants.O_DIRECTORY;

/**
 * Opens the directory `segments` below `root` without following any symbolic link on the way; `root` itself is trusted.
 * `create` makes what is missing (mode 0755 less the umask) and makes the new names durable. Throws UNSAFE_PATH naming `field`
 * at a symbolic link or something that is no directory; ENOENT as Node gives it.
 */
export async function openDirectoryBelow(
  root: string,
  segments: readonly string[],
  options: { readonly create: boolean; readonly field: string },
): Promise<OpenDirectory> {
  let handle = await open(root, directoryFlags);
  try {
    for (const segment of segments) {
      const next = await openChild(handle, segment, segments, options);
      await handle.close();
      handle = next;
    }
  } catch (error) {
    await handle.close();
    throw error;
  }
  return openDirectory(handle);
}

function openDirectory(handle: FileHandle): OpenDirectory {
  return {
    at: (name) => `/proc/self/fd/${handle.fd}/${name}`,
    sync: () => handle.sync(),
    [Symbol.asyncDispose]: () => handle.close(),
  };
}

async function openChild(
  parent: FileHandle,
  segment: string,
  all: readonly string[],
  options: { readonly create: boolean; readonly field: string },
): Promise<FileHandle> {
  const path = `/proc/self/fd/${parent.fd}/${segment}`;
  for (let made = false; ; made = true) {
    try {
      return await open(path, directoryFlags | constants.O_NOFOLLOW);
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === "ELOOP" || errno === "ENOTDIR") {
        throw unsafe(options.field, all.join("/"), `'${segment}' is a symbolic link or no directory`, error);
      }
      if (errno !== "ENOENT" || !options.create || made) throw error;
    }
    if (await makeDirectory(path)) await parent.sync();
  }
}

async function makeDirectory(path: string): Promise<boolean> {
  try {
    await mkdir(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === "EEXIST") return false; // another file of the same manifest made it
    throw error;
  }
}

/**
 * Opens a regular file for reading below `root`, following no symbolic link. Throws UNSAFE_PATH for links and special files
 * (a fifo is not waited for), ENOENT as Node gives it.
 */
export async function openFileBelow(root: string, segments: readonly string[], field: string): Promise<FileHandle> {
  await using directory = await openDirectoryBelow(root, segments.slice(0, -1), { create: false, field });
  const name = segments.at(-1) ?? "";
  return await openRegular(directory.at(name), segments.join("/"), field);
}

/** Opens `path` for reading if it is a regular file; `shown` is what the error names. The last component is not followed. */
export async function openRegular(path: string, shown: string, field: string): Promise<FileHandle> {
  let handle: FileHandle;
  try {
    handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === "ELOOP") throw unsafe(field, shown, "it is a symbolic link", error);
    if (errno === "ENXIO") throw unsafe(field, shown, "it is a socket or device", error);
    throw error;
  }
  const stats = await handle.stat();
  if (stats.isFile()) return handle;
  await handle.close();
  throw unsafe(field, shown, stats.isDirectory() ? "it is a directory" : "it is a fifo, socket or device");
}

/** The directory of a target's name, made if need be; the name is that of no directory. */
export async function openPlace(
  root: string,
  path: string,
  what: string,
): Promise<{ readonly directory: OpenDirectory; readonly name: string } & AsyncDisposable> {
  const field = `${what}: target`;
  const segments = relativeSegments(path, field);
  const directory = await openDirectoryBelow(root, segments.slice(0, -1), { create: true, field });
  const name = segments.at(-1) ?? "";
  const close = async (): Promise<void> => {
    await directory[Symbol.asyncDispose]();
  };
  try {
    await refuseDirectory(directory, name, path, field);
  } catch (error) {
    await close();
    throw error;
  }
  return { directory, name, [Symbol.asyncDispose]: close };
}

async function refuseDirectory(directory: OpenDirectory, name: string, shown: string, field: string): Promise<void> {
  try {
    if ((await lstat(directory.at(name))).isDirectory()) throw unsafe(field, shown, "a directory has that name");
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
  }
}
