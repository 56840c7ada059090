/** From a URL to a path at a remote, and what that path may lead to. */
import { posix } from "node:path";
import type { Stats } from "ssh2";
import type { CallContext } from "../../common/context.ts";
import { Fault } from "../../common/fault.ts";
import { quoted } from "../../common/nearest.ts";
import { unsafe } from "../paths.ts";
import type { RuleSet, TransferPolicy } from "../policy.ts";
import { isWithin, splitPattern } from "../tree.ts";
import type { RemoteFile } from "../types.ts";
import { isPattern, readUrl, shownUrl } from "../urls.ts";
import type { SftpAccess } from "./types.ts";

/** The way to a host of a URL, by name and port as the URL has them. @throws Fault for one that cannot be reached by SSH at all. */
export type FindAccess = (host: string, port: number) => SftpAccess;

/** A URL that the policy allows, and where it leads. */
export interface Place {
  readonly access: SftpAccess;
  /** Decoded components of the path. */
  readonly segments: readonly string[];
  /** Absolute. */
  readonly path: string;
  /** Directories (or files) that the policy's rules name on this host. */
  readonly roots: readonly string[];
  /** For messages, in quotes. */
  readonly what: string;
}

/** @throws Fault POLICY; what `find` throws. */
export function placeOf(url: string, set: RuleSet, policy: TransferPolicy, find: FindAccess): Place {
  const what = quoted(shownUrl(url), 300);
  const reading = readUrl(policy.check(url, set));
  if (!reading.ok) throw new Fault("POLICY", `${what} is refused: ${reading.problem}`);
  const { host, port, segments: all } = reading.url;
  const segments = all.at(-1) === "" ? all.slice(0, -1) : all;
  const roots = policy.rootsFor(url, set);
  return { access: find(host, port), segments, path: `/${segments.join("/")}`, roots, what };
}

/** Where one listed file of a source lies. */
export function fileOf(place: Place, file: Pick<RemoteFile, "path">): Place {
  if (file.path === "") return place;
  const base = place.segments.some(isPattern) ? splitPattern(place.segments).base : place.segments;
  const segments = [...base, ...file.path.split("/")];
  return { ...place, segments, path: `/${segments.join("/")}`, what: `${place.what.slice(0, -1)} ${file.path}'` };
}

/** What lies at a path, links followed, and where they lead. Undefined: nothing. */
export interface Found {
  readonly stats: Stats;
  readonly real: string;
}

/**
 * Looks at a path before it is opened: a fifo would stop the server for all, and a link may lead anywhere.
 * @throws Fault UNSAFE_PATH when its links leave what the policy names.
 */
export async function look(place: Place, path: string, context: CallContext): Promise<Found | undefined> {
  const { files } = place.access;
  const [stats, real] = await Promise.all([
    files.maybe<Stats>(context, (sftp, done) => sftp.stat(path, done)),
    files.maybe<string>(context, (sftp, done) => sftp.realpath(path, done)),
  ]);
  if (!stats || real === undefined) return undefined;
  await confine(place, real, context);
  return { stats, real };
}

/** @throws Fault UNSAFE_PATH. */
export async function confine(place: Place, real: string, context: CallContext): Promise<void> {
  const roots = await realRoots(place, context);
  if (roots.some((root) => isWithin(real, root))) return;
  throw unsafe("remote path", `${place.what.slice(1, -1)}`, "its symbolic links lead outside what the policy names");
}

/** Of those that are there, with links resolved: whoever wrote the policy may name a link. */
export async function realRoots(place: Place, context: CallContext): Promise<readonly string[]> {
  const { files } = place.access;
  const found = await Promise.all(
    place.roots.map((root) => files.maybe<string>(context, (sftp, done) => sftp.realpath(root, done))),
  );
  return found.filter((root) => root !== undefined);
}

/** The rule's directory and the components below it for a destination. */
export function destinationOf(place: Place): {
  readonly root: string;
  readonly below: readonly string[];
  readonly name: string;
} {
  const name = place.segments.at(-1);
  const rule = place.roots
    .filter((root) => isWithin(place.path, root))
    .toSorted((a, b) => a.length - b.length)
    .at(0);
  if (name === undefined || rule === undefined) throw new Fault("TRANSFER_REFUSED", `${place.what} names no file`);
  const root = rule === place.path ? posix.dirname(rule) : rule;
  const depth = root === "/" ? 0 : root.split("/").length - 1;
  return { root, below: place.segments.slice(depth, -1), name };
}

/** Changes with the content, as far as the protocol can tell: it has whole seconds and no inodes. */
export function versionOf({ size, mtime }: Pick<Stats, "size" | "mtime">): string {
  return `${size}-${mtime}`;
}
