/** What lies on a collection. */
import { z } from "zod";
import type { CallContext } from "../../common/context.ts";
import { Fault } from "../../common/fault.ts";
import { isMissing, missingSource, throwIfStopped } from "../errors.ts";
import { ListedFiles } from "../listed-files.ts";
import { unsafe } from "../paths.ts";
import { type Selection, selection } from "../tree.ts";
import type { FilesFound, RemoteFile } from "../types.ts";
import type { TransferApi } from "./client.ts";
import { baseOf, below, confineLink, type Place } from "./places.ts";

/** Entries of one answer: the API's own limit, and each page costs the collection a whole listing. */
const pageEntries = 10_000;
/** Of one source. */
const mostEntries = 2_000_000;
const mostDirectories = 20_000;
const mostDepth = 64;
/** Above so many files of one directory a listing is quicker than asking for each. */
const mostStats = 8;

const entrySchema = z.object({
  name: z.string(),
  /** `file`, `dir`, `invalid_symlink`, `chr`, … */
  type: z.string(),
  size: z.number().int().min(0).nullish(),
  /** `2023-12-18 16:52:50+00:00` */
  last_modified: z.string().nullish(),
  link_target: z.string().nullish(),
});
export type Entry = z.output<typeof entrySchema>;

const listSchema = z.object({ DATA: z.array(entrySchema) });

export interface Asked {
  readonly place: Place;
  readonly pattern: string | undefined;
  /** As of `list`. */
  readonly found: FilesFound | undefined;
}

/** Where files lie, and how to ask for them. */
export class Listings {
  readonly #api: TransferApi;

  constructor(api: TransferApi) {
    this.#api = api;
  }

  /** Links followed; undefined: nothing there. */
  async stat(
    place: Pick<Place, "collection" | "what">,
    path: string,
    context: CallContext,
  ): Promise<Entry | undefined> {
    try {
      return await this.#api.call(
        {
          method: "GET",
          path: `/operation/endpoint/${place.collection}/stat`,
          query: { path },
          schema: entrySchema,
          what: place.what,
        },
        context,
      );
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  /** The file at the place itself. */
  async one(place: Place, context: CallContext): Promise<RemoteFile> {
    const entry = await this.stat(place, place.path, context);
    if (!entry) throw missingSource(place.what);
    checkKind(place, place.path, entry);
    if (entry.type === "dir") throw new Fault("TRANSFER_REFUSED", `${place.what} is a directory`);
    return remoteFile("", entry);
  }

  /** The selected files below a directory, or those that a glob means. */
  async many({ place, pattern, found }: Asked, context: CallContext): Promise<readonly RemoteFile[]> {
    const base = `/${baseOf(place).join("/")}`;
    const wanted = selection({ pattern, include: [], exclude: [] });
    const files = new ListedFiles(found);
    const directories = [""];
    let entries = 0;
    for (const [visited, directory] of walked(directories)) {
      if (visited > mostDirectories) throw tooMany(place, `${mostDirectories} directories`);
      for await (const entry of this.#entries(place, below(base, directory), context)) {
        if (++entries > mostEntries) throw tooMany(place, `${mostEntries} entries`);
        const path = directory === "" ? entry.name : `${directory}/${entry.name}`;
        const sorted = sort(place, base, path, entry, wanted);
        if (sorted === "file") await files.add(remoteFile(path, entry));
        if (sorted === "directory") directories.push(path);
      }
    }
    return files.rest;
  }

  /** What now lies at `paths` (absolute) of a collection; those that are not there are not in the answer. */
  async look(
    place: Pick<Place, "collection" | "what">,
    paths: readonly string[],
    context: CallContext,
  ): Promise<ReadonlyMap<string, Entry>> {
    const found = new Map<string, Entry>();
    for (const [directory, members] of Map.groupBy(paths, (path) => path.slice(0, path.lastIndexOf("/")) || "/")) {
      if (members.length > mostStats) await this.#lookAtAll(place, directory, new Set(members), found, context);
      else {
        for (const path of members) {
          const entry = await this.stat(place, path, context);
          if (entry) found.set(path, entry);
        }
      }
    }
    return found;
  }

  async #lookAtAll(
    place: Pick<Place, "collection" | "what">,
    directory: string,
    members: ReadonlySet<string>,
    found: Map<string, Entry>,
    context: CallContext,
  ): Promise<void> {
    try {
      for await (const entry of this.#entries(place, directory, context)) {
        const path = below(directory, entry.name);
        if (members.has(path)) found.set(path, entry);
      }
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }

  async *#entries(
    { collection, what }: Pick<Place, "collection" | "what">,
    path: string,
    context: CallContext,
  ): AsyncGenerator<Entry> {
    for (let offset = 0; ; offset += pageEntries) {
      throwIfStopped(context.signal);
      const query = { path, limit: String(pageEntries), offset: String(offset), orderby: "name" };
      const call = {
        method: "GET",
        path: `/operation/endpoint/${collection}/ls`,
        query,
        schema: listSchema,
        what,
      } as const;
      const { DATA: entries } = await this.#api.call(call, context);
      yield* entries;
      if (entries.length < pageEntries) return;
    }
  }
}

/** Size and time, as far as the service tells them: changes with the content. */
export function stampOf(file: Pick<RemoteFile, "bytes" | "mtimeMs">): string {
  return `${file.bytes ?? ""}-${file.mtimeMs ?? ""}`;
}

export function remoteFile(path: string, { size, last_modified: modified }: Entry): RemoteFile {
  const mtimeMs = Date.parse(modified ?? "");
  const told = { bytes: size ?? undefined, mtimeMs: Number.isNaN(mtimeMs) ? undefined : mtimeMs };
  return { path, ...told, version: told.mtimeMs === undefined ? undefined : stampOf(told) };
}

/** Items as they are added while they are walked, with their number. */
function* walked(items: readonly string[]): Generator<readonly [number, string]> {
  for (let index = 0; index < items.length; index++) yield [index, items[index] ?? ""];
}

/** What is to be done with an entry. @throws Fault UNSAFE_PATH for one that is wanted and may not be followed. */
function sort(
  place: Place,
  base: string,
  path: string,
  entry: Entry,
  wanted: Selection,
): "file" | "directory" | "nothing" {
  const isDirectory = entry.type === "dir";
  if (isDirectory ? !wanted.entersDirectory(path) : !wanted.wantsFile(path)) return "nothing";
  if (path.split("/").length > mostDepth) throw tooMany(place, `${mostDepth} levels`);
  checkKind(place, below(base, path), entry);
  return isDirectory ? "directory" : "file";
}

function checkKind(place: Place, path: string, entry: Entry): void {
  const { type, link_target: target } = entry;
  if (typeof target === "string") confineLink(place, path, target);
  if (type === "file" || type === "dir") return;
  const problem = type === "invalid_symlink" ? "it is a symbolic link to nothing" : `it is of type '${type}'`;
  throw unsafe("remote path", `${place.what.slice(1, -1)} ${path}`, problem);
}

function tooMany(place: Place, most: string): Fault {
  return new Fault("TRANSFER_REFUSED", `${place.what} has more than ${most}`, {
    hint: "name parts of it as inputs of their own",
  });
}
