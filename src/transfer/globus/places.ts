/** From URLs and local paths to collections and paths on them. */
import { posix } from "node:path";
import { Fault } from "../../common/fault.ts";
import { quoted } from "../../common/nearest.ts";
import { unsafe } from "../paths.ts";
import type { RuleSet, TransferPolicy } from "../policy.ts";
import { isWithin, splitPattern } from "../tree.ts";
import { isPattern, readUrl, shownUrl } from "../urls.ts";
import type { GlobusSettings } from "./types.ts";

export const scheme = "globus";
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** A URL that the policy allows, and where it leads. */
export interface Place {
  readonly collection: string;
  /** Decoded components of the path. */
  readonly segments: readonly string[];
  /** Absolute. */
  readonly path: string;
  /** Directories (or files) that the policy's rules name on this collection. */
  readonly roots: readonly string[];
  /** For messages, in quotes. */
  readonly what: string;
}

/** @throws Fault POLICY; TRANSFER_REFUSED for a host that is no collection. */
export function placeOf(url: string, set: RuleSet, policy: TransferPolicy): Place {
  const what = quoted(shownUrl(url), 300);
  const reading = readUrl(policy.check(url, set));
  if (!reading.ok) throw new Fault("POLICY", `${what} is refused: ${reading.problem}`);
  const { host: collection, segments: all } = reading.url;
  if (!uuid.test(collection)) {
    throw new Fault("TRANSFER_REFUSED", `${what} names no collection`, { hint: "globus://COLLECTION-UUID/path" });
  }
  const segments = all.at(-1) === "" ? all.slice(0, -1) : all;
  return { collection, segments, path: `/${segments.join("/")}`, roots: policy.rootsFor(url, set), what };
}

/** Where the files of a listing of `place` lie: the directory of a glob, else the place itself. */
export function baseOf({ segments }: Place): readonly string[] {
  return segments.some(isPattern) ? splitPattern(segments).base : segments;
}

export function below(base: string, path: string): string {
  if (path === "") return base;
  return base === "/" ? `/${path}` : `${base}/${path}`;
}

/**
 * A symbolic link may lead where the policy names, and nowhere else. Only its own words can be looked at, for the service tells
 * nothing of links on the way.
 * @throws Fault UNSAFE_PATH
 */
export function confineLink(place: Place, path: string, target: string): void {
  const leads = posix.resolve(posix.dirname(path), target);
  if (place.roots.some((root) => isWithin(leads, root))) return;
  throw unsafe(
    "remote path",
    `${place.what.slice(1, -1)} ${path}`,
    "it is a symbolic link that leads outside what the policy names",
  );
}

/** What the site's own collection calls a local path. @throws Fault TRANSFER_REFUSED when no line of `globus.paths` has it. */
export function ownPath(settings: Pick<GlobusSettings, "paths">, local: string): string {
  const [line] = settings.paths
    .filter((one) => isWithin(local, one.local))
    .toSorted((a, b) => b.local.length - a.local.length);
  if (line) {
    const rest = local.slice(line.local === "/" ? 0 : line.local.length);
    return `${line.remote === "/" ? "" : line.remote}${rest}` || "/";
  }
  throw new Fault("TRANSFER_REFUSED", `'${local}' lies below none of globus.paths of the site file`, {
    hint: "add a line that says what the site's collection calls this directory",
  });
}
