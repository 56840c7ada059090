/** Stored bytes as answers: digests, ranges, harmless headers. */
import { createHash } from "node:crypto";
import type { FastifyReply, FastifyRequest } from "fastify";
import { Fault } from "../../common/fault.ts";

/** Largest upload, bytes: it is one value of the store, so that every hub process can serve it. */
export const uploadCapBytes = 16 * 1024 * 1024;

export function sha256Of(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** The bytes, or the one range that was asked for (206; 416 beyond the end). Never shown inside a page of the hub. */
export function sendBytes(
  request: FastifyRequest,
  reply: FastifyReply,
  bytes: Uint8Array,
  sha256: string,
): FastifyReply {
  reply.header("content-type", "application/octet-stream");
  reply.header("content-disposition", "attachment");
  reply.header("accept-ranges", "bytes");
  reply.header("etag", `"${sha256}"`);
  const body = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const match = /^bytes=(\d{1,15})-(\d{1,15})?$/.exec(request.headers.range ?? "");
  if (!match) return reply.send(body);
  const from = Number(match[1]);
  const to = Math.min(body.length - 1, match[2] === undefined ? Infinity : Number(match[2]));
  if (from >= body.length || to < from) {
    reply.header("content-range", `bytes */${body.length}`);
    throw new Fault("BAD_OFFSET", `range '${match[0]}' is beyond the ${body.length} bytes that there are`);
  }
  reply.header("content-range", `bytes ${from}-${to}/${body.length}`);
  return reply.status(206).send(body.subarray(from, to + 1));
}

/** A relative path without tricks, as it stands in a manifest. Throws UNSAFE_PATH. */
export function assertPlainPath(path: string): void {
  const parts = path.split("/");
  const bad = parts.some((part) => part === "" || part === "." || part === "..") || /\p{Cc}|\\/u.test(path);
  if (!bad && path.length <= 4096) return;
  throw new Fault(
    "UNSAFE_PATH",
    `path '${path.slice(0, 200)}' is not allowed: relative, without '.', '..' or empty parts`,
  );
}
