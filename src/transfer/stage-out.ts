import { realpath } from "node:fs/promises";
import { join } from "node:path/posix";
import { errnoOf } from "../common/fault.ts";
import { missingSource, refuseTooMany, transferFault } from "./errors.ts";
import { openRegular, refuseCollisions, relativeSegments, unsafe } from "./paths.ts";
import {
  checkEach,
  compare,
  emptyItem,
  hostOf,
  indexKnown,
  itemName,
  type Move,
  type PlanInput,
  tooLarge,
  type TransferPlan,
} from "./plan.ts";
import { cutMoves } from "./bulk.ts";
import { SentGroup } from "./send-group.ts";
import { type Destination, SentFile } from "./send.ts";
import { isWithin, selection, splitPattern, walk } from "./tree.ts";
import type { BulkTransfer, ManifestEntry } from "./types.ts";
import { urlBelow } from "./urls.ts";

/** A selected file: its name below the root, below the item, and where it really lies. */
interface Selected {
  readonly path: string;
  readonly below: string;
  /** Below the real root, no links in it. */
  readonly real: string;
  readonly bytes: number;
  readonly mtimeMs: number;
}

/** Selects all outputs and says which files are to be sent. Throws with the problems of all items. */
export async function planStageOut(input: PlanInput): Promise<TransferPlan> {
  const { request, deps } = input;
  const root = await realRoot(request.root);
  const destinations = checkEach(request.items, (item): Destination => {
    const what = itemName(request, item);
    if (item.kind === "file" || item.source !== ".") relativeSegments(item.source, `${what}: path`);
    const adapter = deps.registry.forUrl(item.target);
    return { item, what, url: deps.policy.check(item.target, "destinations"), adapter, host: hostOf(item.target) };
  });
  const known = indexKnown(request.known);
  const files: SentFile[] = [];
  const moves: Move[] = [];
  const done: ManifestEntry[] = [];
  const missing: string[] = [];
  const targets: string[] = [];
  for (const destination of destinations) {
    const selected = await selectFiles(root, destination, input);
    refuseTooMany("the outputs together", files.length + done.length + selected.length);
    if (selected.length === 0) missing.push(destination.item.name);
    const wanted: SentFile[] = [];
    for (const found of selected) {
      const below = belowTarget(destination, found);
      const url = deps.policy.check(urlBelow(destination.url, below), "destinations");
      targets.push(url.slice(url.indexOf(":") + 1).replace(/^\/+/, ""));
      const file = new SentFile(destination, { ...found, below, root, url }, input);
      const entry = known(destination.item.name, found.path);
      if (entry && (await file.isUnchanged(entry, input.context))) done.push(entry);
      else wanted.push(file);
    }
    for (const file of wanted) files.push(file);
    const bulk = deps.bulk.of(destination.adapter, destination.host, input.context);
    const together = (some: readonly SentFile[], way: BulkTransfer): Move =>
      new SentGroup(destination, some, way, input);
    for (const move of cutMoves(wanted, bulk, together)) moves.push(move);
  }
  refuseCollisions(targets, "destination");
  return { files, moves: () => moves, done, missing };
}

async function realRoot(root: string): Promise<string> {
  try {
    return await realpath(root);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") throw missingSource(`work directory '${root}'`, error);
    throw transferFault(error, `work directory '${root}'`);
  }
}

/** A file goes to the very URL, or into it when it ends with `/`; directories and globs go below it. */
function belowTarget({ item, url }: Destination, found: Selected): string {
  if (item.kind !== "file") return found.below;
  return url.replace(/\?.*$/s, "").endsWith("/") ? (item.source.split("/").at(-1) ?? "") : "";
}

/** The files of an output, sorted; empty only for an optional one. */
async function selectFiles(root: string, destination: Destination, input: PlanInput): Promise<readonly Selected[]> {
  const { item, what } = destination;
  const selected =
    item.kind === "file" ? await selectOne(root, destination) : await selectMany(root, destination, input);
  if (selected.length === 0 && item.required) throw emptyItem(what, item.source);
  const bytes = selected.reduce((sum, file) => sum + file.bytes, 0);
  if (item.maxBytes !== undefined && bytes > item.maxBytes) throw tooLarge(what, item.maxBytes);
  return selected.toSorted((a, b) => compare(a.path, b.path));
}

async function selectOne(root: string, destination: Destination): Promise<readonly Selected[]> {
  const { item, what } = destination;
  const real = await realInside(root, item.source, what);
  if (real === undefined) return [];
  await using handle = await openRegular(real, item.source, `${what}: path`);
  const { size, mtimeMs } = await handle.stat();
  return [{ path: item.source, below: "", real: real.slice(root.length + 1), bytes: size, mtimeMs }];
}

async function selectMany(root: string, destination: Destination, input: PlanInput): Promise<readonly Selected[]> {
  const { item, what } = destination;
  const segments = item.source === "." ? [] : item.source.split("/");
  const split = item.kind === "glob" ? splitPattern(segments) : { base: segments, pattern: undefined };
  const base = split.base.join("/");
  const start = base === "" ? root : await realInside(root, base, what);
  if (start === undefined) return [];
  const wanted = selection({ pattern: split.pattern, include: item.include, exclude: item.exclude });
  const options = { roots: [root], selection: wanted, field: `${what}: file`, signal: input.context.signal };
  const selected: Selected[] = [];
  try {
    for await (const found of walk(start, options)) {
      const path = join(base, found.path);
      relativeSegments(path, `${what}: file`);
      selected.push({
        path,
        below: found.path,
        real: found.real.slice(root.length + 1),
        bytes: Number(found.stats.size),
        mtimeMs: Number(found.stats.mtimeNs) / 1e6,
      });
    }
  } catch (error) {
    throw errnoOf(error) === "ENOTDIR" ? unsafe(`${what}: path`, base, "it is no directory", error) : error;
  }
  return selected;
}

/** The real path of `path`, which must lie below `root`; undefined when nothing is there. */
async function realInside(root: string, path: string, what: string): Promise<string | undefined> {
  let real: string;
  try {
    real = await realpath(`${root}/${path}`);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === "ENOENT" || errno === "ENOTDIR") return undefined;
    if (errno === "ELOOP") throw unsafe(`${what}: path`, path, "it is a loop of symbolic links", error);
    throw transferFault(error, what);
  }
  if (isWithin(real, root) && real !== root) return real;
  throw unsafe(`${what}: path`, path, "it is a symbolic link that leaves the job's directory");
}
