/** One object: what is known of it, and its bytes. */
import type { CallContext } from "../../common/context.ts";
import { Fault, isFault } from "../../common/fault.ts";
import { missingSource, sourceChanged } from "../errors.ts";
import { bodyOf } from "../http/body.ts";
import { drop, type HttpHeaders } from "../http/client.ts";
import { contentRange, representation, single } from "../http/headers.ts";
import type { RuleSet } from "../policy.ts";
import type { RemoteFile } from "../types.ts";
import type { S3Client } from "./client.ts";
import { versionOf } from "./list.ts";
import type { Place } from "./place.ts";

/** Longest time in which less than 1 KiB comes. */
const idleMs = 60_000;

/** What writing leaves with an object: the digest of the whole, and the MD5 that ties it to these very bytes. */
export const sha256Header = "x-amz-meta-siteagent-sha256";
export const md5Header = "x-amz-meta-siteagent-md5";

export interface S3Object {
  readonly bytes: number | undefined;
  /** Its ETag, in quotes. */
  readonly version: string | undefined;
  readonly mtimeMs: number | undefined;
  /** Lower-case hexadecimal; only what certainly belongs to the bytes that lie there. */
  readonly sha256: string | undefined;
  /** What whoever wrote it said; of other bytes perhaps. */
  readonly claimedSha256: string | undefined;
  /** Base64 with the number of parts: what the store made of the digests of parts. */
  readonly compositeSha256: string | undefined;
}

/** Undefined: nothing there. @throws Fault as `S3Client.call` does. */
export async function find(
  client: S3Client,
  place: Place,
  set: RuleSet,
  context: CallContext,
): Promise<S3Object | undefined> {
  const headers = { "x-amz-checksum-mode": "ENABLED" };
  try {
    const { headers: said, body } = await client.call(place, set, { method: "HEAD", headers }, context);
    await drop(body);
    return objectOf(said);
  } catch (error) {
    if (statusOf(error) === 404) return undefined;
    // Answers to HEAD have no body, and so no reason.
    if (statusOf(error) === undefined || s3Code(error) !== undefined || isFault(error, "TRANSFER")) throw error;
    return await findByReading(client, place, set, context);
  }
}

/** The same, with the store's own reason where there is nothing. @throws Fault TRANSFER_REFUSED with `details.missing`. */
export async function mustFind(client: S3Client, place: Place, context: CallContext): Promise<S3Object> {
  const found =
    (await find(client, place, "sources", context)) ?? (await findByReading(client, place, "sources", context));
  if (!found) throw missingSource(place.what);
  return found;
}

async function findByReading(
  client: S3Client,
  place: Place,
  set: RuleSet,
  context: CallContext,
): Promise<S3Object | undefined> {
  try {
    const answer = await client.call(place, set, { method: "GET", headers: { range: "bytes=0-0" } }, context);
    await drop(answer.body);
    return objectOf(answer.headers);
  } catch (error) {
    if (s3Code(error) === "NoSuchKey") return undefined;
    if (s3Code(error) !== "InvalidRange") throw error;
    return { ...objectOf({}), bytes: 0 };
  }
}

function objectOf(headers: HttpHeaders): S3Object {
  const { bytes, mtimeMs, sha256 } = representation(headers, contentRange(headers));
  const version = versionOf(single(headers, "etag"));
  const claimed = single(headers, sha256Header);
  const claimedSha256 = claimed !== undefined && /^[0-9a-f]{64}$/.test(claimed) ? claimed : undefined;
  const md5 = single(headers, md5Header);
  const tied = md5 !== undefined && version === `"${md5}"`;
  const composite = single(headers, "x-amz-checksum-sha256");
  return {
    bytes,
    version,
    mtimeMs,
    sha256: sha256 ?? (tied ? claimedSha256 : undefined),
    claimedSha256,
    compositeSha256: composite !== undefined && /-\d+$/.test(composite) ? composite : undefined,
  };
}

/** The bytes from `offset`, of the listed version. */
export async function* readObject(
  client: S3Client,
  place: Place,
  file: RemoteFile,
  offset: number,
  context: CallContext,
): AsyncGenerator<Uint8Array> {
  const { what } = place;
  if (offset > 0 && offset === file.bytes) {
    const now = await mustFind(client, place, context); // all is there; only whether it is still this object is in question
    if (now.version !== file.version || now.bytes !== file.bytes) throw sourceChanged(what);
    return;
  }
  const headers: Record<string, string> = { ...(file.version === undefined ? {} : { "if-match": file.version }) };
  if (offset > 0) headers["range"] = `bytes=${offset}-`;
  else headers["x-amz-checksum-mode"] = "ENABLED";
  const answer = await client.call(place, "sources", { method: "GET", headers }, context).catch((error: unknown) => {
    throw [412, 416].includes(statusOf(error) ?? 0) ? sourceChanged(what) : error;
  });
  try {
    const range = answer.status === 206 ? contentRange(answer.headers) : undefined;
    const found = objectOf(answer.headers);
    if (answer.status === 206 && range?.first !== offset) {
      throw new Fault("TRANSFER", `${what} answered with another range than was asked for`);
    }
    const otherSize = file.bytes !== undefined && found.bytes !== undefined && found.bytes !== file.bytes;
    if (found.version !== file.version || otherSize) throw sourceChanged(what);
    const options = { skip: answer.status === 206 ? 0 : offset, idleMs };
    yield* bodyOf(place.store.settings.endpoint, what, answer, options, context);
  } finally {
    answer.body.on("error", () => {}); // destroying a body that still flows is an error to it
    answer.body.destroy();
  }
}

/** HTTP status of a refusal; undefined for other faults. */
export function statusOf(error: unknown): number | undefined {
  const status = isFault(error) ? error.details?.["status"] : undefined;
  return typeof status === "number" ? status : undefined;
}

/** The store's word for a refusal. */
export function s3Code(error: unknown): string | undefined {
  const code = isFault(error) ? error.details?.["s3_code"] : undefined;
  return typeof code === "string" ? code : undefined;
}
