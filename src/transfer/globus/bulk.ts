/** Many files in one task, from or to the site's own collection. */
import { lstat } from "node:fs/promises";
import { join } from "node:path";
import { errnoOf } from "../../common/fault.ts";
import type { Token } from "../../common/token.ts";
import { arrivalPath } from "../bulk.ts";
import { sourceChanged } from "../errors.ts";
import type { BulkOutput, FoundFile, RemoteFile, TransferContext } from "../types.ts";
import { type Listings, remoteFile, stampOf } from "./list.ts";
import { type NotedFile, scopeOf } from "./notes.ts";
import { baseOf, below, ownPath, type Place } from "./places.ts";
import type { GlobusSettings } from "./types.ts";
import type { Work } from "./work.ts";

/** What the adapter is made of. */
export interface GlobusParts {
  readonly settings: GlobusSettings;
  readonly listings: Listings;
  readonly work: Work;
}

/** As `BulkTransfer.fetch`; the place is that of its URL. */
export async function fetchFiles(
  { settings, listings, work }: GlobusParts,
  call: {
    readonly place: Place;
    readonly files: readonly RemoteFile[];
    readonly directory: string;
    readonly token: Token;
  },
  arrived: (file: RemoteFile) => Promise<void>,
  context: TransferContext,
): Promise<void> {
  const { place, files, directory, token } = call;
  const own = ownPath(settings, directory);
  const base = `/${baseOf(place).join("/")}`;
  const wanted = new Map(
    files.map((file): [NotedFile, RemoteFile] => {
      const paths = { source_path: below(base, file.path), destination_path: below(own, arrivalPath(file)) };
      return [{ ...paths, stamp: stampOf(file) }, file];
    }),
  );
  const settle = async (some: readonly NotedFile[]): Promise<readonly NotedFile[]> => {
    const sources = some.map(({ source_path: path }) => path);
    const now = await listings.look(place, sources, context);
    const left: NotedFile[] = [];
    let changed: RemoteFile | undefined;
    for (const noted of some) {
      const file = wanted.get(noted);
      if (!file) continue;
      const entry = now.get(noted.source_path);
      if (!entry || stampOf(remoteFile("", entry)) !== noted.stamp) changed ??= file;
      else if (await isWhole(join(directory, arrivalPath(file)), file.bytes)) await arrived(file);
      else left.push(noted);
    }
    if (changed) throw sourceChanged(`${place.what.slice(0, -1)} ${changed.path}'`);
    return left;
  };
  const scope = scopeOf("in", place.collection, base, directory);
  const ends = { source: place.collection, destination: settings.collection };
  await work.move({ token, scope, direction: "in", ...ends, files: [...wanted.keys()] }, settle, context);
}

/** As `BulkTransfer.send`; the place is that of its URL. */
export async function sendFiles(
  { settings, listings, work }: GlobusParts,
  call: { readonly place: Place; readonly files: readonly BulkOutput[]; readonly token: Token },
  arrived: (file: BulkOutput, found: FoundFile) => Promise<void>,
  context: TransferContext,
): Promise<void> {
  const { place, files, token } = call;
  const wanted = new Map(
    files.map((file): [NotedFile, BulkOutput] => {
      const to = below(place.path, file.path);
      const from = ownPath(settings, file.localPath);
      return [{ source_path: from, destination_path: to, stamp: `${file.bytes}-${file.sha256}` }, file];
    }),
  );
  const settle = async (some: readonly NotedFile[]): Promise<readonly NotedFile[]> => {
    const targets = some.map(({ destination_path: path }) => path);
    const now = await listings.look(place, targets, context);
    const left: NotedFile[] = [];
    for (const noted of some) {
      const file = wanted.get(noted);
      const entry = now.get(noted.destination_path);
      if (file && entry?.type === "file") await arrived(file, { bytes: entry.size ?? undefined, sha256: undefined });
      else left.push(noted);
    }
    return left;
  };
  const scope = scopeOf("out", place.collection, place.path);
  const ends = { source: settings.collection, destination: place.collection };
  await work.move({ token, scope, direction: "out", ...ends, files: [...wanted.keys()] }, settle, context);
}

/** A regular file of this size lies there. */
async function isWhole(path: string, bytes: number | undefined): Promise<boolean> {
  try {
    const found = await lstat(path);
    return found.isFile() && (bytes === undefined || found.size === bytes);
  } catch (error) {
    if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ENOTDIR") return false;
    throw error;
  }
}
