/** Uploads in parts ("Uploading and copying objects using multipart upload" of the Amazon S3 user guide). */
import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import type { CallContext } from "../../common/context.ts";
import { failpoint } from "../../common/failpoint.ts";
import { Fault, isFault } from "../../common/fault.ts";
import { advanced, isSourceChanged, throwIfStopped } from "../errors.ts";
import { drop } from "../http/client.ts";
import { single } from "../http/headers.ts";
import type { FileContent, TransferContext, WriteInfo } from "../types.ts";
import type { S3Client } from "./client.ts";
import { versionOf } from "./list.ts";
import { find, s3Code, type S3Object } from "./object.ts";
import { base64Of, digestRange, type Part, partsOf, sentRange } from "./parts.ts";
import type { Place } from "./place.ts";
import { encodeText, type Xml } from "./xml.ts";

/** Unfinished uploads of one key that are looked at; more are somebody's litter. */
const mostUploads = 8;
const abortMs = 10_000;

export interface UploadInput {
  readonly client: S3Client;
  readonly place: Place;
  readonly source: FileHandle;
  readonly info: WriteInfo;
  readonly uploads: BegunUploads;
  /** What goes with the object. */
  readonly headers: Readonly<Record<string, string>>;
}

/** An upload that was begun and not ended. */
export interface BegunUpload {
  readonly id: string;
  /** The store keeps SHA-256 of its parts. */
  readonly digests: boolean;
}

/** Those of this process, by endpoint, bucket and key. */
export type BegunUploads = Map<string, BegunUpload>;

/** A part that lies at the store. */
interface Stored {
  readonly number: number;
  readonly bytes: number;
  /** In quotes. */
  readonly etag: string;
  /** Base64, where the store keeps digests. */
  readonly sha256: string | undefined;
}

/**
 * One try. An upload that an earlier try, or an earlier process, began is gone on with if every part that lies there has the digest
 * of ours: its id may be another's, its bytes are the same.
 */
export class Upload {
  readonly #input: UploadInput;
  readonly #context: TransferContext;
  readonly #name: string;
  readonly #parts: readonly Part[];
  readonly #stored = new Map<number, Stored>();
  #id = "";
  /** The store keeps SHA-256 of parts; else MD5 is sent with them. */
  #digests = false;
  #sent = 0;

  constructor(input: UploadInput, context: TransferContext) {
    this.#input = input;
    this.#context = context;
    this.#name = input.place.name;
    this.#parts = partsOf(input.info.bytes, input.place.store.settings.partBytes);
  }

  /** The version of the object. @throws Fault; what was sent stays for the next try, unless none can go on with it. */
  async run(): Promise<string | undefined> {
    const { uploads, place, info } = this.#input;
    try {
      if (!(await this.#resume())) await this.#begin();
      uploads.set(this.#name, { id: this.#id, digests: this.#digests });
      await info.begun?.(this.#id);
      await this.#sendParts();
      const version = await this.#complete();
      uploads.delete(this.#name);
      return version;
    } catch (error) {
      if (s3Code(error) === "NoSuchUpload") {
        uploads.delete(this.#name);
        throw new Fault("TRANSFER", `${place.what}: the store has dropped the upload`, { cause: error });
      }
      if (this.#id !== "" && isUseless(error)) await this.#giveUp(this.#id);
      throw this.#sent > 0 && isFault(error) && error.row.retry === "soon" ? advanced(error) : error;
    }
  }

  async #resume(): Promise<boolean> {
    const begun = this.#input.uploads.get(this.#name);
    const known = begun?.id;
    for (const id of known === undefined ? await this.#unfinished() : [known]) {
      const stored = await this.#storedIn(id);
      if (!stored || (stored.length === 0 && id !== known)) continue;
      if (!(await this.#areOurs(stored))) continue;
      for (const part of stored) this.#stored.set(part.number, part);
      this.#id = id;
      this.#digests = begun?.digests ?? this.#digests;
      return true;
    }
    if (known !== undefined) await this.#giveUp(known);
    return false;
  }

  /** Newest first. Empty where the account may not list them. */
  async #unfinished(): Promise<readonly string[]> {
    const { client, place } = this.#input;
    const query = { uploads: "", prefix: place.key, "encoding-type": "url" };
    try {
      const { root } = await client.xml(place, "destinations", { method: "GET", bucket: true, query }, this.#context);
      const encoded = root.text("EncodingType") === "url";
      const keyOf = (upload: Xml): string | undefined => {
        const key = upload.text("Key");
        return encoded && key !== undefined ? decodeURIComponent(key.replaceAll("+", " ")) : key;
      };
      return root
        .children("Upload")
        .filter((upload) => keyOf(upload) === place.key)
        .toSorted((a, b) => ((a.text("Initiated") ?? "") < (b.text("Initiated") ?? "") ? 1 : -1))
        .flatMap((upload) => upload.text("UploadId") ?? [])
        .slice(0, mostUploads);
    } catch (error) {
      throwIfStopped(this.#context.signal);
      if (isFault(error, "TRANSFER")) throw error;
      return [];
    }
  }

  /** The parts of an upload; undefined when there is no such upload any more. */
  async #storedIn(id: string): Promise<readonly Stored[] | undefined> {
    const { client, place } = this.#input;
    const parts: Stored[] = [];
    this.#digests = false;
    try {
      for (let marker: string | undefined = undefined; ;) {
        const query: Record<string, string | undefined> = { uploadId: id, "part-number-marker": marker };
        const { root } = await client.xml(place, "destinations", { method: "GET", query }, this.#context);
        for (const part of root.children("Part")) parts.push(storedOf(part));
        const next: string | undefined = root.text("NextPartNumberMarker");
        if (root.text("ChecksumAlgorithm") === "SHA256") this.#digests = true;
        if (root.text("IsTruncated") !== "true" || next === undefined || next === marker) return parts;
        marker = next;
      }
    } catch (error) {
      if (["NoSuchUpload", "AccessDenied"].includes(s3Code(error) ?? "")) return undefined;
      throw error;
    }
  }

  /** Every part that lies there is the same stretch of the same bytes as ours. */
  async #areOurs(stored: readonly Stored[]): Promise<boolean> {
    const { source } = this.#input;
    for (const { number, bytes, etag, sha256 } of stored) {
      const part = this.#parts[number - 1];
      if (part?.bytes !== bytes) return false;
      const own = await digestRange(source, part, sha256 === undefined, this.#context.signal);
      if (sha256 === undefined ? etag !== `"${own.md5}"` : sha256 !== base64Of(own.sha256)) return false;
    }
    return true;
  }

  async #begin(): Promise<void> {
    const { client, place, headers } = this.#input;
    const call = {
      method: "POST",
      query: { uploads: "" },
      headers: { ...headers, "x-amz-checksum-algorithm": "SHA256" },
    } as const;
    const { root, headers: said } = await client.xml(place, "destinations", call, this.#context);
    const id = root.text("UploadId");
    if (!id) throw new Fault("TRANSFER", `${place.what}: ${place.store.label} began an upload without an id`);
    this.#id = id;
    this.#digests = single(said, "x-amz-checksum-algorithm")?.toUpperCase() === "SHA256";
  }

  async #sendParts(): Promise<void> {
    const waiting = this.#parts.filter(({ number }) => !this.#stored.has(number)).toReversed();
    let failed = false;
    const worker = async (): Promise<void> => {
      for (let part = waiting.pop(); part !== undefined && !failed; part = waiting.pop()) await this.#send(part);
    };
    const workers = Array.from({ length: this.#input.place.store.settings.parts }, () =>
      worker().catch((error: unknown) => {
        failed = true;
        throw error;
      }),
    );
    for (const ended of await Promise.allSettled(workers)) if (ended.status === "rejected") throw ended.reason;
  }

  async #send(part: Part): Promise<void> {
    const { client, place, source } = this.#input;
    const { signal } = this.#context;
    const { sha256, md5 } = await digestRange(source, part, !this.#digests, signal);
    const headers: Record<string, string> =
      md5 === undefined ? { "x-amz-checksum-sha256": base64Of(sha256) } : { "content-md5": base64Of(md5) };
    const query = { partNumber: String(part.number), uploadId: this.#id };
    const body = { bytes: part.bytes, sha256, read: () => sentRange(source, part, this.#context) };
    const answer = await client.call(place, "destinations", { method: "PUT", query, headers, body }, this.#context);
    await drop(answer.body);
    const etag = versionOf(single(answer.headers, "etag"));
    if (etag === undefined) throw new Fault("TRANSFER", `${place.what}: part ${part.number} was taken without an ETag`);
    const kept = md5 === undefined ? base64Of(sha256) : undefined;
    this.#stored.set(part.number, { number: part.number, bytes: part.bytes, etag, sha256: kept });
    this.#sent++;
    await failpoint("transfer.after-append");
  }

  async #complete(): Promise<string | undefined> {
    const { client, place } = this.#input;
    const listed = this.#parts.flatMap(({ number }) => this.#stored.get(number) ?? []);
    const text = `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${listed.map(partXml).join("")}</CompleteMultipartUpload>`;
    const bytes = Buffer.from(text);
    const body = {
      bytes: bytes.byteLength,
      sha256: createHash("sha256").update(bytes).digest("hex"),
      read: async function* () {
        yield bytes;
      },
    };
    const headers: Record<string, string> = place.store.settings.existing === "refuse" ? { "if-none-match": "*" } : {};
    const call = { method: "POST", query: { uploadId: this.#id }, headers, body } as const;
    try {
      const { root } = await client.xml(place, "destinations", call, this.#context);
      const version = versionOf(root.text("ETag"));
      // radosgw says nothing useful when an earlier try has ended it.
      return version !== undefined && /-\d+"$/.test(version) ? version : await this.#madeOf(listed);
    } catch (error) {
      if (s3Code(error) !== "NoSuchUpload") throw error;
      // An earlier try may have ended it without hearing the answer.
      const version = await this.#madeOf(listed);
      if (version === undefined) throw error;
      return version;
    }
  }

  /** The version of the object if it is made of these parts. */
  async #madeOf(parts: readonly Stored[]): Promise<string | undefined> {
    const { client, place } = this.#input;
    const present = await find(client, place, "destinations", this.#context);
    return present && isMadeOf(present, parts) ? present.version : undefined;
  }

  /** What lies there costs money, but is no reason to fail otherwise. */
  async #giveUp(id: string): Promise<void> {
    const { client, place, uploads } = this.#input;
    uploads.delete(this.#name);
    const context = { ...this.#context, signal: AbortSignal.timeout(abortMs) };
    try {
      await removeUpload(client, place, id, context);
    } catch (error) {
      context.log.warn({ err: error, object: place.what }, "an upload was given up and its parts could not be removed");
    }
  }
}

/** Removes the parts of an upload that nobody will end. Repeatable. */
export async function removeUpload(client: S3Client, place: Place, id: string, context: CallContext): Promise<void> {
  try {
    const call = { method: "DELETE", query: { uploadId: id } } as const;
    await drop((await client.call(place, "destinations", call, context)).body);
  } catch (error) {
    if (s3Code(error) !== "NoSuchUpload") throw error;
  }
}

/** What a next try cannot go on with. */
function isUseless(error: unknown): boolean {
  return isSourceChanged(error) || (isFault(error) && error.row.retry === "never" && error.code !== "CANCELLED");
}

function storedOf(part: Xml): Stored {
  return {
    number: Number(part.text("PartNumber")),
    bytes: Number(part.text("Size")),
    etag: versionOf(part.text("ETag")) ?? "",
    sha256: part.text("ChecksumSHA256"),
  };
}

function partXml({ number, etag, sha256 }: Stored): string {
  const digest = sha256 === undefined ? "" : `<ChecksumSHA256>${encodeText(sha256)}</ChecksumSHA256>`;
  return `<Part><PartNumber>${number}</PartNumber><ETag>${encodeText(etag)}</ETag>${digest}</Part>`;
}

/** The object is what these parts make: its ETag is the MD5 of theirs, or its digest that of theirs. */
function isMadeOf({ version, compositeSha256 }: S3Object, parts: readonly Pick<Stored, "etag" | "sha256">[]): boolean {
  const md5 = createHash("md5");
  const sha256 = createHash("sha256");
  for (const { etag, sha256: one } of parts) {
    md5.update(Buffer.from(etag.replaceAll('"', ""), "hex"));
    sha256.update(Buffer.from(one ?? "", "base64"));
  }
  const count = parts.length;
  return version === `"${md5.digest("hex")}-${count}"` || compositeSha256 === `${sha256.digest("base64")}-${count}`;
}

/** True when the object certainly came of an upload of this very file in parts of this size. */
export async function isSameInParts(
  source: FileHandle,
  present: S3Object,
  { bytes }: FileContent,
  partBytes: number,
  context: CallContext,
): Promise<boolean> {
  const count = /-(\d+)"?$/.exec(present.version ?? "")?.[1];
  const parts = partsOf(bytes, partBytes);
  if (count === undefined || Number(count) !== parts.length) return false;
  const digests: { readonly etag: string; readonly sha256: string }[] = [];
  for (const part of parts) {
    const { sha256, md5 = "" } = await digestRange(source, part, present.compositeSha256 === undefined, context.signal);
    digests.push({ etag: md5, sha256: base64Of(sha256) });
  }
  return isMadeOf(present, digests);
}
