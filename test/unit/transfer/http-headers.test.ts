import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { contentRange, ifRange, representation } from "../../../src/transfer/http/headers.ts";
import { retryAfterMs, statusFault } from "../../../src/transfer/http/status.ts";

const now = Date.parse("2026-01-01T00:00:00Z");

describe("Retry-After", () => {
  test.each([
    ["120", 120_000],
    ["0", 0],
    ["999999999", 900_000],
    ["Thu, 01 Jan 2026 00:00:30 GMT", 30_000],
    ["Wed, 31 Dec 2025 23:00:00 GMT", undefined],
    ["-1", undefined],
    ["soon", undefined],
    ["1e9", undefined],
    ["", undefined],
    [undefined, undefined],
  ])("%j means %j ms", (header, expected) => {
    expect(retryAfterMs(header, now)).toBe(expected);
  });
});

test.each([
  [404, "TRANSFER_REFUSED"],
  [401, "TRANSFER_REFUSED"],
  [304, "TRANSFER_REFUSED"],
  [501, "TRANSFER_REFUSED"],
  [408, "TRANSFER"],
  [425, "TRANSFER"],
  [429, "TRANSFER"],
  [500, "TRANSFER"],
  [503, "TRANSFER"],
])("status %i is %s", (status, code) => {
  expect(statusFault("http://x/", { status, headers: {} }, now).code).toBe(code);
});

describe("validators", () => {
  const modified = "Wed, 31 Dec 2025 23:00:00 GMT";
  test.each([
    [{ etag: '"a"' }, 'etag:"a"'],
    [{ etag: 'W/"a"' }, undefined],
    [{ etag: "bare" }, undefined],
    [{ "last-modified": modified, date: "Thu, 01 Jan 2026 00:00:00 GMT" }, `date:${modified}`],
    [{ "last-modified": modified, date: modified }, undefined],
    [{ "last-modified": modified }, undefined],
    [{ etag: 'W/"a"', "last-modified": modified, date: "Thu, 01 Jan 2026 00:00:00 GMT" }, `date:${modified}`],
  ])("of %j is %j", (headers, version) => {
    expect(representation(headers).version).toBe(version);
    if (version !== undefined) expect(ifRange(version)).toBe(version.slice(5));
  });
});

test("digests of the whole file are found in all spellings, others ignored", () => {
  const base64 = createHash("sha256").update("x").digest("base64");
  const hex = createHash("sha256").update("x").digest("hex");
  for (const headers of [
    { "repr-digest": `md5=:AAAA:, sha-256=:${base64}:` },
    { digest: `SHA-256=${base64},adler32=03da0195` },
    { "x-amz-checksum-sha256": base64 },
  ]) {
    expect(representation(headers).sha256).toBe(hex);
  }
  expect(representation({ "x-amz-checksum-sha256": `${base64}-12` }).sha256).toBeUndefined();
  expect(representation({ "content-digest": `sha-256=:${base64}:` }).sha256).toBeUndefined();
});

test("ranges", () => {
  expect(contentRange({ "content-range": "bytes 5-9/10" })).toEqual({ first: 5, total: 10 });
  expect(contentRange({ "content-range": "bytes 5-9/*" })).toEqual({ first: 5, total: undefined });
  expect(contentRange({ "content-range": "bytes */0" })).toEqual({ first: undefined, total: 0 });
  expect(contentRange({ "content-range": "items 1-2/3" })).toBeUndefined();
});

test("headers of any content are read without a fault", () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const names = [
        "etag",
        "last-modified",
        "date",
        "content-length",
        "repr-digest",
        "digest",
        "x-amz-checksum-sha256",
        "content-range",
      ];
      const headers = Object.fromEntries(names.map((name) => [name, text]));
      representation(headers, contentRange(headers));
      retryAfterMs(text, now);
    }),
  );
});
