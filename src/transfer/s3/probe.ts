import type { Probe } from "../../common/adapter.ts";
import type { CallContext } from "../../common/context.ts";
import { asFault } from "../../common/fault.ts";
import { quoted } from "../../common/nearest.ts";
import { S3Client } from "./client.ts";
import type { S3Store } from "./types.ts";

/** Asks each bucket for its first object, with the keys that transfers would have. Never throws. */
export async function probeS3(
  stores: readonly S3Store[],
  env: NodeJS.ProcessEnv,
  context: CallContext,
): Promise<Probe> {
  await using client = new S3Client(env);
  for (const store of stores) {
    const place = { store, segments: [], key: "", name: store.bucket, what: quoted(`s3://${store.bucket}/`, 300) };
    const query = { "list-type": "2", "max-keys": "1" };
    try {
      await client.xml(place, "sources", { method: "GET", bucket: true, query }, context);
    } catch (error) {
      const { message, hint } = asFault(error);
      return { ok: false, reason: message, ...(hint === undefined ? {} : { hint }) };
    }
  }
  const names = stores.map(({ bucket }) => bucket);
  return { ok: true, version: `S3, ${names.length === 1 ? "bucket" : "buckets"} ${names.join(", ")}` };
}
