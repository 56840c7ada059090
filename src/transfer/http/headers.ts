import { createHash, type Hash } from "node:crypto";
import { digestMismatch } from "../errors.ts";
import type { HttpHeaders } from "./client.ts";

/** What an answer says about the file behind it. */
export interface Representation {
  /** Of the whole file. */
  readonly bytes: number | undefined;
  /** A validator that changes with the content, or undefined when there is no strong one. */
  readonly version: string | undefined;
  readonly mtimeMs: number | undefined;
  readonly sha256: string | undefined;
}

const etagPrefix = "etag:";
const datePrefix = "date:";

/** Reads size, validator and digest; `range` is the parsed Content-Range of a 206. */
export function representation(headers: HttpHeaders, range?: ContentRange): Representation {
  const modified = Date.parse(single(headers, "last-modified") ?? "");
  const digests = wholeDigests(headers);
  return {
    bytes: range ? range.total : contentLength(headers),
    version: versionOf(headers),
    mtimeMs: Number.isNaN(modified) ? undefined : modified,
    sha256: digests.find((digest) => digest.algorithm === "sha256")?.hex,
  };
}

export function contentLength(headers: HttpHeaders): number | undefined {
  const text = single(headers, "content-length");
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** A strong ETag; else a Last-Modified that is older than the answer by a second or more (RFC 9110, 8.8.2.2). */
function versionOf(headers: HttpHeaders): string | undefined {
  const etag = single(headers, "etag");
  if (etag !== undefined && /^"[^"]*"$/.test(etag)) return `${etagPrefix}${etag}`;
  const modified = single(headers, "last-modified");
  const date = Date.parse(single(headers, "date") ?? "");
  if (modified === undefined || !(date - Date.parse(modified) >= 1000)) return undefined;
  return `${datePrefix}${modified}`;
}

/** The value of `If-Range` for a version of ours. */
export function ifRange(version: string): string {
  return version.slice(version.startsWith(etagPrefix) ? etagPrefix.length : datePrefix.length);
}

export interface ContentRange {
  readonly first: number | undefined;
  readonly total: number | undefined;
}

/** `bytes 5-9/10`, `bytes 5-9/*` or, with a 416, `bytes *` + `/10`. */
export function contentRange(headers: HttpHeaders): ContentRange | undefined {
  const match = /^bytes (?:(\d{1,15})-\d{1,15}|\*)\/(\d{1,15}|\*)$/.exec(single(headers, "content-range") ?? "");
  if (!match) return undefined;
  const [, first, total] = match;
  return {
    first: first === undefined ? undefined : Number(first),
    total: total === undefined || total === "*" ? undefined : Number(total),
  };
}

export interface Digest {
  readonly algorithm: "sha256" | "sha512" | "md5";
  /** Lower case. */
  readonly hex: string;
}

const lengths = { sha256: 32, sha512: 64, md5: 16 } as const;

/** Digests of the whole file: Repr-Digest (RFC 9530), Digest (RFC 3230), one of an object store. */
function wholeDigests(headers: HttpHeaders): readonly Digest[] {
  return [
    ...parseDigests(single(headers, "repr-digest")),
    ...parseDigests(single(headers, "digest")),
    ...decode("sha256", single(headers, "x-amz-checksum-sha256")),
  ];
}

/** Digests of the bytes of this answer: Content-Digest, Content-MD5. */
function bodyDigests(headers: HttpHeaders): readonly Digest[] {
  return [...parseDigests(single(headers, "content-digest")), ...decode("md5", single(headers, "content-md5"))];
}

function parseDigests(header: string | undefined): readonly Digest[] {
  const found: Digest[] = [];
  for (const [, name = "", value] of (header ?? "").matchAll(/([A-Za-z0-9-]+)\s*=\s*:?([A-Za-z0-9+/_-]+={0,2}):?/g)) {
    const algorithm = name.toLowerCase().replaceAll("-", "");
    if (algorithm === "sha256" || algorithm === "sha512" || algorithm === "md5")
      found.push(...decode(algorithm, value));
  }
  return found;
}

function decode(algorithm: Digest["algorithm"], text: string | undefined): readonly Digest[] {
  if (text === undefined || !/^[A-Za-z0-9+/_-]+={0,2}$/.test(text)) return [];
  const bytes = Buffer.from(text, "base64");
  return bytes.byteLength === lengths[algorithm] ? [{ algorithm, hex: bytes.toString("hex") }] : [];
}

/** Checks the bytes of an answer against all digests that its headers promise. */
export class DigestCheck {
  readonly #checks: readonly { readonly promised: Digest; readonly hash: Hash }[];

  /** `whole`: the answer carries the file from its first byte to its last. */
  constructor(headers: HttpHeaders, whole: boolean) {
    const promised = [...bodyDigests(headers), ...(whole ? wholeDigests(headers) : [])];
    this.#checks = promised.map((digest) => ({ promised: digest, hash: createHash(digest.algorithm) }));
  }

  update(chunk: Uint8Array): void {
    for (const { hash } of this.#checks) hash.update(chunk);
  }

  /** Throws DIGEST_MISMATCH. */
  finish(what: string): void {
    for (const { promised, hash } of this.#checks) {
      const actual = hash.digest("hex");
      if (actual !== promised.hex) throw digestMismatch(what, promised.hex, actual);
    }
  }
}

/** `Repr-Digest` of a SHA-256. */
export function reprDigest(sha256: string): string {
  return `sha-256=:${Buffer.from(sha256, "hex").toString("base64")}:`;
}

export function single(headers: HttpHeaders, name: string): string | undefined {
  const value = headers[name];
  return typeof value === "string" ? value : value?.[0];
}
