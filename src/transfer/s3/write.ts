/** Puts one file to a store. An object is there whole or not at all; what is under way has no name. */
import { type FileHandle, open } from "node:fs/promises";
import type { CallContext } from "../../common/context.ts";
import { failpoint } from "../../common/failpoint.ts";
import { Fault } from "../../common/fault.ts";
import { drop } from "../http/client.ts";
import { single } from "../http/headers.ts";
import type { FileContent, TransferContext, WriteInfo } from "../types.ts";
import type { S3Client } from "./client.ts";
import { versionOf } from "./list.ts";
import { find, md5Header, s3Code, type S3Object, sha256Header, statusOf } from "./object.ts";
import { base64Of, digestRange, sentRange } from "./parts.ts";
import type { Place } from "./place.ts";
import { type BegunUploads, isSameInParts, Upload } from "./upload.ts";

/** What the store acknowledged, every byte of it compared by digest. */
export interface Written extends FileContent {
  /** As `S3Object.version`. */
  readonly version: string | undefined;
}

/** @throws Fault as `TransferAdapter.write` says. What was sent in parts stays for a later try that can go on with it. */
export async function writeObject(
  client: S3Client,
  place: Place,
  localPath: string,
  info: WriteInfo,
  uploads: BegunUploads,
  context: TransferContext,
): Promise<Written> {
  const { partBytes, existing } = place.store.settings;
  await using source = await open(localPath, "r");
  const large = info.bytes > partBytes;
  if (existing === "refuse" || large) {
    const present = await lookAt(client, place, context);
    if (present && (await isSame(source, present, info, place, context)))
      return { bytes: info.bytes, sha256: info.sha256, version: present.version };
    if (present && existing === "refuse") throw existsFault(place);
  }
  await failpoint("transfer.before-write");
  try {
    const version = large
      ? await new Upload({ client, place, source, info, uploads, headers: headersOf(info) }, context).run()
      : await put(client, place, source, info, context);
    await failpoint("transfer.after-write");
    return { bytes: info.bytes, sha256: info.sha256, version };
  } catch (error) {
    if (statusOf(error) !== 412) throw error;
    const present = await lookAt(client, place, context); // an earlier try of ours, perhaps
    if (present && (await isSame(source, present, info, place, context)))
      return { bytes: info.bytes, sha256: info.sha256, version: present.version };
    throw existsFault(place);
  }
}

/** An account that may write but not read is not told what lies there. */
async function lookAt(client: S3Client, place: Place, context: CallContext): Promise<S3Object | undefined> {
  try {
    return await find(client, place, "destinations", context);
  } catch (error) {
    if (s3Code(error) === "AccessDenied") return undefined;
    throw error;
  }
}

/** True when the object certainly has this content. */
async function isSame(
  source: FileHandle,
  present: S3Object,
  info: FileContent,
  { store }: Place,
  context: CallContext,
): Promise<boolean> {
  if (present.bytes !== info.bytes) return false;
  if (present.sha256 !== undefined) return present.sha256 === info.sha256;
  if (present.claimedSha256 !== info.sha256) return false;
  return await isSameInParts(source, present, info, store.settings.partBytes, context);
}

async function put(
  client: S3Client,
  place: Place,
  source: FileHandle,
  info: FileContent,
  context: TransferContext,
): Promise<string | undefined> {
  const whole = { first: 0, bytes: info.bytes };
  const { md5 = "" } = await digestRange(source, whole, true, context.signal);
  const headers = {
    ...headersOf(info),
    [md5Header]: md5,
    "content-md5": base64Of(md5),
    "x-amz-checksum-sha256": base64Of(info.sha256),
    ...(place.store.settings.existing === "refuse" ? { "if-none-match": "*" } : {}),
  };
  const body = { bytes: info.bytes, sha256: info.sha256, read: () => sentRange(source, whole, context) };
  const answer = await client.call(place, "destinations", { method: "PUT", headers, body }, context);
  await drop(answer.body);
  return versionOf(single(answer.headers, "etag"));
}

/** What goes with every object. */
function headersOf(info: FileContent): Readonly<Record<string, string>> {
  return { "content-type": "application/octet-stream", [sha256Header]: info.sha256 };
}

function existsFault({ what, store }: Place): Fault {
  return new Fault("TRANSFER_REFUSED", `${what}: an object of another content lies there`, {
    hint: `remove it, or set 'existing: replace' of remote '${store.label}'`,
    details: { exists: true },
  });
}
