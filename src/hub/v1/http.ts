/** What the routes of /siteagent/v1/ share. */
import type {
  FastifyBaseLogger,
  FastifyInstance,
  FastifyRequest,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { Fault } from "../../common/fault.ts";
import type { JsonObject } from "../../common/json.ts";
import { idSchema } from "../../wire/common.ts";

export type V1App = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  ZodTypeProvider
>;

export const idParams = z.object({ id: idSchema });

/** The Idempotency-Key header. Throws INVALID when it is too long. */
export function idempotencyKeyOf(request: FastifyRequest): string | undefined {
  const header = request.headers["idempotency-key"];
  if (header === undefined || header === "") return undefined;
  if (typeof header === "string" && header.length <= 256) return header;
  throw new Fault("INVALID", "header 'Idempotency-Key': one text of at most 256 characters");
}

/** The object, or a note of its size when it is too large to be kept. */
export function capped(data: JsonObject, bytes: number): JsonObject {
  const size = Buffer.byteLength(JSON.stringify(data));
  return size <= bytes ? data : { truncated: true, bytes: size };
}
