import { realpath } from "node:fs/promises";
import { join } from "node:path/posix";
import { errnoOf } from "../common/fault.ts";
import { missingSource, refuseTooMany, transferFault } from "./errors.ts";
import { openRegular, relativeSegments, unsafe } from "./paths.ts";
import { KnownFiles, PlanList, sortingOf } from "./plan-list.ts";
import {
  checkEach,
  emptyItem,
  hostOf,
  itemName,
  type Move,
  type PlanChunk,
  type PlanInput,
  tooLarge,
  type TransferPlan,
} from "./plan.ts";
import { cutMoves } from "./bulk.ts";
import { SentGroup } from "./send-group.ts";
import { type Destination, type LocalFile, SentFile } from "./send.ts";
import { SortedRows } from "./sorted-rows.ts";
import { isWithin, selection, splitPattern, walk } from "./tree.ts";
import type { BulkTransfer } from "./types.ts";
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
  const list = new PlanList<Outgoing>(input);
  const missing: string[] = [];
  try {
    await using known = await KnownFiles.of(input);
    for (const [number, destination] of destinations.entries()) {
      const isThere = await planDestination({ root, destination, number, known, list }, input);
      if (!isThere) missing.push(destination.item.name);
      list.endItem();
    }
    await list.refuseCollisions("destination");
  } catch (error) {
    await list[Symbol.asyncDispose]();
    throw error;
  }
  return {
    totals: list.totals,
    chunks: () => chunksOf(list, root, destinations, input),
    done: list.done,
    missing,
    [Symbol.asyncDispose]: () => list[Symbol.asyncDispose](),
  };
}

/** A file that is to be sent, as the list has it. */
type Outgoing = Omit<LocalFile, "root">;

interface PlannedDestination {
  readonly root: string;
  readonly destination: Destination;
  /** Among the items. */
  readonly number: number;
  readonly known: KnownFiles;
  readonly list: PlanList<Outgoing>;
}

/** Puts on the list what is to be sent of an output. False: nothing is there. */
async function planDestination(
  { root, destination, number, known, list }: PlannedDestination,
  input: PlanInput,
): Promise<boolean> {
  const { item, url: base } = destination;
  await using selected = await selectFiles(root, destination, input);
  list.expect("the outputs together", selected.count);
  for await (const found of selected.sorted()) {
    const below = belowTarget(destination, found);
    const url = input.deps.policy.check(urlBelow(base, below), "destinations");
    await list.take(url.slice(url.indexOf(":") + 1).replace(/^\/+/, ""));
    const outgoing = { ...found, below, url };
    const entry = await known.find(number, found.path);
    const file = entry && new SentFile(destination, { ...outgoing, root }, input);
    if (entry && (await file?.isUnchanged(entry, input.context))) list.isDone(entry);
    else await list.want(outgoing, found.bytes, item.mode === "copy");
  }
  return selected.count > 0;
}

async function* chunksOf(
  list: PlanList<Outgoing>,
  root: string,
  destinations: readonly Destination[],
  input: PlanInput,
): AsyncGenerator<PlanChunk> {
  for await (const { item, rows } of list.chunks()) {
    const destination = destinations[item];
    if (!destination) continue;
    const files = rows.map((outgoing) => new SentFile(destination, { ...outgoing, root }, input));
    const bulk = input.deps.bulk.of(destination.adapter, destination.host, input.context);
    const together = (some: readonly SentFile[], way: BulkTransfer): Move =>
      new SentGroup(destination, some, way, input);
    yield { files, moves: () => cutMoves(files, bulk, together) };
  }
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

/** The files of an output, to be read in order; empty only for an optional one. */
async function selectFiles(root: string, destination: Destination, input: PlanInput): Promise<SortedRows<Selected>> {
  const { item, what } = destination;
  const selected = new SortedRows<Selected>(({ path }) => path, sortingOf(input));
  try {
    let bytes = 0;
    const found = item.kind === "file" ? selectOne(root, destination) : selectMany(root, destination, input);
    for await (const file of found) {
      bytes += file.bytes;
      if (item.maxBytes !== undefined && bytes > item.maxBytes) throw tooLarge(what, item.maxBytes);
      await selected.add(file);
      refuseTooMany(what, selected.count, input.deps.mostFiles);
    }
    if (selected.count === 0 && item.required) throw emptyItem(what, item.source);
    return selected;
  } catch (error) {
    await selected[Symbol.asyncDispose]();
    throw error;
  }
}

async function* selectOne(root: string, destination: Destination): AsyncGenerator<Selected> {
  const { item, what } = destination;
  const real = await realInside(root, item.source, what);
  if (real === undefined) return;
  await using handle = await openRegular(real, item.source, `${what}: path`);
  const { size, mtimeMs } = await handle.stat();
  yield { path: item.source, below: "", real: real.slice(root.length + 1), bytes: size, mtimeMs };
}

async function* selectMany(root: string, destination: Destination, input: PlanInput): AsyncGenerator<Selected> {
  const { item, what } = destination;
  const segments = item.source === "." ? [] : item.source.split("/");
  const split = item.kind === "glob" ? splitPattern(segments) : { base: segments, pattern: undefined };
  const base = split.base.join("/");
  const start = base === "" ? root : await realInside(root, base, what);
  if (start === undefined) return;
  const wanted = selection({ pattern: split.pattern, include: item.include, exclude: item.exclude });
  const options = { roots: [root], selection: wanted, field: `${what}: file`, signal: input.context.signal };
  try {
    for await (const found of walk(start, options)) {
      const path = join(base, found.path);
      relativeSegments(path, `${what}: file`);
      yield {
        path,
        below: found.path,
        real: found.real.slice(root.length + 1),
        bytes: Number(found.stats.size),
        mtimeMs: Number(found.stats.mtimeNs) / 1e6,
      };
    }
  } catch (error) {
    throw errnoOf(error) === "ENOTDIR" ? unsafe(`${what}: path`, base, "it is no directory", error) : error;
  }
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
