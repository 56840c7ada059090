import { lstat, readlink } from "node:fs/promises";
import type { CallContext } from "../common/context.ts";
import { errnoOf, isFault } from "../common/fault.ts";
import { isMissing, refuseTooMany } from "./errors.ts";
import { cutMoves } from "./bulk.ts";
import { FetchedGroup } from "./fetch-group.ts";
import { FetchedFile, fileUrl, named, type Source, targetPath } from "./fetch.ts";
import { digestOf } from "./landing.ts";
import { openDirectoryBelow, openRegular, relativeSegments } from "./paths.ts";
import { KnownFiles, PlanList, sortingOf } from "./plan-list.ts";
import {
  checkEach,
  checkSize,
  emptyItem,
  hostOf,
  itemName,
  type Move,
  type PlanChunk,
  type PlanInput,
  type PlannedFile,
  tooLarge,
  type TransferPlan,
} from "./plan.ts";
import { withRetries } from "./retry.ts";
import { SortedRows } from "./sorted-rows.ts";
import { type Selection, selection } from "./tree.ts";
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
  const list = new PlanList<RemoteFile>(input);
  const missing: string[] = [];
  try {
    await using known = await KnownFiles.of(input);
    for (const [number, source] of sources.entries()) {
      const isThere = await planSource({ source, number, known, list }, input);
      if (!isThere) missing.push(source.item.name);
      list.endItem();
    }
    await list.refuseCollisions("target");
  } catch (error) {
    await list[Symbol.asyncDispose]();
    throw error;
  }
  return {
    totals: list.totals,
    chunks: () => chunksOf(list, sources, input),
    done: list.done,
    missing,
    [Symbol.asyncDispose]: () => list[Symbol.asyncDispose](),
  };
}

interface PlannedSource {
  readonly source: Source;
  /** Among the items. */
  readonly number: number;
  readonly known: KnownFiles;
  readonly list: PlanList<RemoteFile>;
}

/** Puts on the list what is wanted of a source. False: nothing is there. */
async function planSource({ source, number, known, list }: PlannedSource, input: PlanInput): Promise<boolean> {
  const { item } = source;
  if (item.kind === "file") {
    const whole = await known.find(number, targetPath(source, ""));
    if (whole && (await isIntact(whole, source, input))) {
      await list.take(whole.path);
      list.isDone(whole);
      return true;
    }
  }
  await using listing = await listSource(source, input);
  list.expect("the inputs together", listing.files);
  for await (const remote of listing.sorted()) {
    const path = targetPath(source, remote.path);
    await list.take(path);
    const entry = item.kind === "file" ? undefined : await known.find(number, path);
    if (entry && (await isIntact(entry, source, input))) list.isDone(entry);
    else await list.want(remote, remote.bytes, item.mode === "copy");
  }
  return listing.files > 0;
}

async function* chunksOf(
  list: PlanList<RemoteFile>,
  sources: readonly Source[],
  input: PlanInput,
): AsyncGenerator<PlanChunk> {
  for await (const { item, rows } of list.chunks()) {
    const source = sources[item];
    if (!source) continue;
    const files = rows.map((remote) => new FetchedFile(source, remote, input));
    const wanted = (some: readonly PlannedFile[]): readonly FetchedFile[] => {
      const chosen = new Set(some);
      return files.filter((file) => chosen.has(file));
    };
    yield { files, moves: (some) => movesOf(source, wanted(some), input) };
  }
}

/** Links are made one by one: nothing is brought for them. */
function movesOf(source: Source, files: readonly FetchedFile[], input: PlanInput): readonly Move[] {
  const linked = source.item.mode === "link" && source.adapter.localPath !== undefined;
  const bulk = linked ? undefined : input.deps.bulk.of(source.adapter, source.host, input.context);
  return cutMoves(files, bulk, (some, way) => new FetchedGroup(source, some, way, input));
}

/** The wanted files of a source; empty only for an optional one. */
async function listSource(source: Source, input: PlanInput): Promise<Listing> {
  const { item, what, adapter } = source;
  try {
    const listing = await input.within(source.host, (context) =>
      withRetries(`${what} (${shownUrl(source.url)})`, context, input.deps.retry, async () => {
        const tried = new Listing(source, input);
        try {
          await tried.add(await adapter.list(source.url, item.kind, context, (files) => tried.add(files)));
          return tried;
        } catch (error) {
          await tried[Symbol.asyncDispose]();
          throw error;
        }
      }),
    );
    if (listing.files === 0 && item.required) throw emptyItem(what, shownUrl(source.url));
    return listing;
  } catch (error) {
    if (item.required || !isMissing(error)) throw named(error, what);
    return new Listing(source, input);
  }
}

/** What one try to list a source finds of it, as far as it is wanted. */
class Listing implements AsyncDisposable {
  readonly #source: Source;
  readonly #mostFiles: number;
  readonly #selection: Selection | undefined;
  readonly #rows: SortedRows<RemoteFile>;
  #bytes = 0;

  constructor(source: Source, input: PlanInput) {
    const { item } = source;
    this.#source = source;
    this.#mostFiles = input.deps.mostFiles;
    this.#selection = item.kind === "file" ? undefined : selection({ include: item.include, exclude: item.exclude });
    this.#rows = new SortedRows<RemoteFile>(({ path }) => path, sortingOf(input));
  }

  get files(): number {
    return this.#rows.count;
  }

  /** @throws Fault for one that is refused, and for too many. */
  async add(files: readonly RemoteFile[]): Promise<void> {
    const { item, what } = this.#source;
    for (const file of files) {
      if (this.#selection?.wantsFile(file.path) === false) continue;
      if (file.path !== "") relativeSegments(file.path, `${what}: file`);
      checkSize(what, item.expectedSize, file.bytes);
      this.#bytes += file.bytes ?? 0;
      if (item.maxBytes !== undefined && this.#bytes > item.maxBytes) throw tooLarge(what, item.maxBytes);
      await this.#rows.add(file);
      refuseTooMany(what, this.#rows.count, this.#mostFiles);
    }
  }

  sorted(): AsyncIterable<RemoteFile> {
    return this.#rows.sorted();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#rows[Symbol.asyncDispose]();
  }
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
