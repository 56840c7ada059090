/** Bodies of the NMDC Runtime, only the fields in use; unknown ones are ignored. */
import { z } from "zod";

const id = z.string().min(1).max(256);

export const claimSchema = z.object({
  op_id: id,
  site_id: z.string(),
  done: z.boolean().nullish(),
  cancelled: z.boolean().nullish(),
});

export const jobSchema = z.object({
  id,
  workflow: z.object({ id }),
  name: z.string().nullish(),
  description: z.string().nullish(),
  config: z.record(z.string(), z.json()),
  claims: z.array(claimSchema).nullish(),
});
export type NmdcJob = z.output<typeof jobSchema>;

export const operationSchema = z.object({
  id,
  done: z.boolean().nullish(),
  expire_time: z.string().nullish(),
  metadata: z.record(z.string(), z.unknown()),
});
export type NmdcOperation = z.output<typeof operationSchema>;

/** Of a list: the items are checked one by one, so that a bad one hides no good ones. */
export const listSchema = z.object({
  resources: z.array(z.unknown()),
  next_page_token: z.string().nullish(),
});

/** `headers` that a reader would have to send. */
export const accessSchema = z.object({ url: z.string(), headers: z.unknown().optional() });

export const objectSchema = z.object({
  id,
  self_uri: z.string().nullish(),
  name: z.string().nullish(),
  mime_type: z.string().nullish(),
  size: z.int().min(0).nullish(),
  checksums: z.array(z.object({ type: z.string(), checksum: z.string() })).nullish(),
  access_methods: z.array(z.object({ access_url: accessSchema.nullish(), access_id: z.string().nullish() })).nullish(),
  contents: z.array(z.unknown()).nullish(),
});

/** Of the replies to `:claim` and `:release` only this is used: what came of it is read back. */
export const madeSchema = z.object({ id });
