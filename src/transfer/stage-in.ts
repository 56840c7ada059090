import { lstat, readlink } from "node:fs/promises";
import type { CallContext } from "../common/context.ts";
import { errnoOf, isFault } from "../common/fault.ts";
import { isMissing, refuseTooMany } from "./errors.ts";
import { cutMoves } from "./bulk.ts";
import { FetchedGroup } from "./fetch-group.ts";
import { FetchedFile, fileUrl, named, type Source } from "./fetch.ts";
import { digestOf } from "./landing.ts";
import { openDirectoryBelow, openRegular, refuseCollisions, relativeSegments } from "./paths.ts";
import {
  checkEach,
  checkSize,
  emptyItem,
  hostOf,
  indexKnown,
  itemName,
  type Move,
  type PlanInput,
  type PlannedFile,
  tooLarge,
  type TransferPlan,
} from "./plan.ts";
import { withRetries } from "./retry.ts";
import { selection } from "./tree.ts";
import type { ManifestEntry, RemoteFile } from "./types.ts";
import { shownUrl } from "./urls.ts";

/** Lists all sources and says which files are to be fetched. Throws with the problems of all items. */
export async function planStageIn(input: PlanInput): Promise<TransferPlan> {
  const { request, deps } = input;
  const sources = checkEach(request.items, (item): Source => {
    const what = itemName(request, item);
    const target = item.kind !== "file" && item.target === "." ? [] : relativeSegments(item.target, `${what}: target`);
    const adapter = deps.registry.forUrl(item.source);
    const url = deps.policy.check(item.source, "sources");
    return { item, what, url, adapter, host: hostOf(url), target };
  });
  const known = indexKnown(request.known);
  const files: FetchedFile[] = [];
  const bySource = new Map<Source, readonly FetchedFile[]>();
  const done: ManifestEntry[] = [];
  const missing: string[] = [];
  for (const source of sources) {
    const whole = source.item.kind === "file" ? known(source.item.name, source.target.join("/")) : undefined;
    if (whole && (await isIntact(whole, source, input))) {
      done.push(whole);
      continue;
    }
    const listed = await listSource(source, input);
    refuseTooMany(source.what, listed.length);
    refuseTooMany("the inputs together", files.length + done.length + listed.length);
    if (listed.length === 0) missing.push(source.item.name);
    const wanted: FetchedFile[] = [];
    for (const remote of listed) {
      const file = new FetchedFile(source, remote, input);
      const entry = source.item.kind === "file" ? undefined : known(source.item.name, file.path);
      if (entry && (await isIntact(entry, source, input))) done.push(entry);
      else wanted.push(file);
    }
    for (const file of wanted) files.push(file);
    bySource.set(source, wanted);
  }
  refuseCollisions(
    [...files, ...done].map((file) => file.path),
    "target",
  );
  const moves = (but: ReadonlySet<PlannedFile>): readonly Move[] =>
    [...bySource].flatMap(([source, wanted]) => {
      const some = but.size === 0 ? wanted : wanted.filter((file) => !but.has(file));
      return movesOf(source, some, input);
    });
  return { files, moves, done, missing };
}

/** Links are made one by one: nothing is brought for them. */
function movesOf(source: Source, files: readonly FetchedFile[], input: PlanInput): readonly Move[] {
  const linked = source.item.mode === "link" && source.adapter.localPath !== undefined;
  const bulk = linked ? undefined : input.deps.bulk.of(source.adapter, source.host, input.context);
  return cutMoves(files, bulk, (some, way) => new FetchedGroup(source, some, way, input));
}

/** The wanted files of a source; empty only for an optional one. */
async function listSource(source: Source, input: PlanInput): Promise<readonly RemoteFile[]> {
  const { item, what, adapter } = source;
  let listed: readonly RemoteFile[] = [];
  try {
    listed = await input.within(source.host, (context) =>
      withRetries(`${what} (${shownUrl(source.url)})`, context, input.deps.retry, () =>
        adapter.list(source.url, item.kind, context),
      ),
    );
  } catch (error) {
    if (item.required || !isMissing(error)) throw named(error, what);
  }
  if (item.kind !== "file") {
    const wanted = selection({ include: item.include, exclude: item.exclude });
    listed = listed.filter((file) => wanted.wantsFile(file.path));
  }
  if (listed.length === 0 && item.required) throw emptyItem(what, shownUrl(source.url));
  let bytes = 0;
  for (const file of listed) {
    if (file.path !== "") relativeSegments(file.path, `${what}: file`);
    checkSize(what, item.expectedSize, file.bytes);
    bytes += file.bytes ?? 0;
    if (item.maxBytes !== undefined && bytes > item.maxBytes) throw tooLarge(what, item.maxBytes);
  }
  return listed;
}

/** A known file is still there: size and, as a hint, modification time; without the hint its digest. */
async function isIntact(entry: ManifestEntry, source: Source, input: PlanInput): Promise<boolean> {
  const { item } = source;
  if (entry.url !== fileUrl(source.url, item, remotePathOf(entry, source))) return false;
  if (item.expectedSha256 !== undefined && item.expectedSha256 !== entry.sha256) return false;
  try {
    const segments = relativeSegments(entry.path, `${source.what}: known file`);
    await using directory = await openDirectoryBelow(input.request.root, segments.slice(0, -1), {
      create: false,
      field: `${source.what}: known file`,
    });
    const path = directory.at(segments.at(-1) ?? "");
    if ((await lstat(path)).isSymbolicLink()) return await isIntactLink(path, entry, source, input.context);
    await using handle = await openRegular(path, entry.path, source.what);
    const { size, mtimeMs } = await handle.stat();
    if (size !== entry.bytes) return false;
    return (
      Math.trunc(mtimeMs) === entry.mtimeMs || (await digestOf(handle, input.context.signal)).sha256 === entry.sha256
    );
  } catch (error) {
    if (errnoOf(error) === "ENOENT" || isFault(error, "UNSAFE_PATH", "TRANSFER_REFUSED")) return false;
    throw error;
  }
}

async function isIntactLink(
  path: string,
  entry: ManifestEntry,
  source: Source,
  context: CallContext,
): Promise<boolean> {
  if (source.item.mode !== "link" || !source.adapter.localPath) return false;
  const file = { path: remotePathOf(entry, source), bytes: entry.bytes, mtimeMs: undefined, version: undefined };
  const real = await source.adapter.localPath(source.url, file, context);
  if ((await readlink(path)) !== real) return false;
  const { size, mtimeMs } = await lstat(real);
  return size === entry.bytes && Math.trunc(mtimeMs) === entry.mtimeMs;
}

function remotePathOf(entry: ManifestEntry, source: Source): string {
  return source.item.kind === "file" ? "" : entry.path.split("/").slice(source.target.length).join("/");
}
