import type { CallContext } from "../../common/context.ts";
import { Fault } from "../../common/fault.ts";
import { missingSource } from "../errors.ts";
import { ListedFiles } from "../listed-files.ts";
import { unsafe } from "../paths.ts";
import { selection, splitPattern } from "../tree.ts";
import type { FilesFound, RemoteFile } from "../types.ts";
import type { S3Client } from "./client.ts";
import type { Place } from "./place.ts";
import type { Xml } from "./xml.ts";

export interface Asked {
  readonly place: Place;
  readonly kind: "directory" | "glob";
  /** As of `list`. */
  readonly found: FilesFound | undefined;
}

/**
 * The objects below a key as if it were a directory, or those that a pattern means. Markers of directories (`a/` with nothing in it)
 * are left out. Names are as they are at the store: whoever makes paths of them checks them.
 * @throws Fault TRANSFER_REFUSED with `details.missing` where no object is below; UNSAFE_PATH for names that are no text.
 */
export async function listObjects(
  client: S3Client,
  { place, kind, found }: Asked,
  context: CallContext,
): Promise<readonly RemoteFile[]> {
  const { base, pattern } =
    kind === "glob" ? splitPattern(place.segments) : { base: place.segments, pattern: undefined };
  const directory = base.length === 0 ? "" : `${base.join("/")}/`;
  const chosen = selection({ pattern, include: [], exclude: [] });
  const asked = {
    prefix: `${directory}${literalStart(pattern)}`,
    // A pattern of one component needs nothing deeper.
    delimiter: pattern === undefined || pattern.includes("/") || pattern.includes("**") ? undefined : "/",
  };
  const files = new ListedFiles(found);
  let isThere = false;
  for await (const object of objects(client, place, asked, context)) {
    isThere = true;
    const path = object.key.slice(directory.length);
    if (path === "" || (path.endsWith("/") && object.bytes === 0)) continue;
    if (!chosen.wantsFile(path)) continue;
    if (!object.key.startsWith(directory))
      throw unsafe(`source ${place.what}:`, object.key, "it is not below what was listed");
    await files.add({ path, bytes: object.bytes, mtimeMs: object.mtimeMs, version: object.version });
  }
  if (!isThere && kind === "directory") throw missingSource(place.what);
  return files.rest;
}

interface Listed {
  readonly key: string;
  readonly bytes: number | undefined;
  readonly mtimeMs: number | undefined;
  readonly version: string | undefined;
}

/** Page by page, 1000 at a time ("ListObjectsV2" of the Amazon S3 API reference). */
async function* objects(
  client: S3Client,
  place: Place,
  { prefix, delimiter }: { readonly prefix: string; readonly delimiter: string | undefined },
  context: CallContext,
): AsyncGenerator<Listed> {
  const seen = new Set<string>();
  for (let token: string | undefined; ;) {
    const query = { "list-type": "2", "encoding-type": "url", prefix, delimiter, "continuation-token": token };
    const { root } = await client.xml(place, "sources", { method: "GET", bucket: true, query }, context);
    if (root.name !== "ListBucketResult") throw strange(place, "answers a listing with something else");
    const encoded = root.text("EncodingType") === "url";
    for (const entry of root.children("Contents")) yield listed(place, entry, encoded);
    const truncated = root.text("IsTruncated");
    if (truncated === "false") return;
    token = root.text("NextContinuationToken");
    if (truncated !== "true" || token === undefined || seen.has(token))
      throw strange(place, "does not say where its listing goes on");
    seen.add(token);
  }
}

function listed(place: Place, entry: Xml, encoded: boolean): Listed {
  const raw = entry.text("Key") ?? "";
  const size = entry.text("Size") ?? "";
  const modified = Date.parse(entry.text("LastModified") ?? "");
  return {
    key: encoded ? decodeKey(place, raw) : raw,
    bytes: /^\d{1,15}$/.test(size) ? Number(size) : undefined,
    mtimeMs: Number.isNaN(modified) ? undefined : modified,
    version: versionOf(entry.text("ETag")),
  };
}

/** As of a form: a blank is `+`. */
function decodeKey(place: Place, raw: string): string {
  try {
    return decodeURIComponent(raw.replaceAll("+", " "));
  } catch {
    throw unsafe(`source ${place.what}:`, raw, "it is not valid UTF-8");
  }
}

/** An ETag, in quotes whether it came so or not. */
export function versionOf(etag: string | undefined): string | undefined {
  if (etag === undefined || etag === "" || etag.startsWith("W/")) return undefined;
  return etag.startsWith('"') ? etag : `"${etag}"`;
}

/** What every match begins with. */
function literalStart(pattern: string | undefined): string {
  return /^[^/*?[{!@+(]*/.exec(pattern ?? "")?.[0] ?? "";
}

function strange({ what, store }: Place, does: string): Fault {
  return new Fault("TRANSFER", `${what}: ${store.label} ${does}`);
}
