/** Request bodies of the NMDC contract. What is not named is dropped; `null` for an optional field is kept. */
import { z } from "zod";
import { py } from "../validation.ts";

const text = z.string();
const texts = z.array(text);

export const workflowModel = z.object({
  name: text.nullish(),
  description: text.nullish(),
  capability_ids: texts.nullish(),
  id: text,
  created_at: py.dateTime().nullish(),
});

export const claimModel = z.object({
  op_id: text,
  site_id: text,
  done: py.bool().nullish(),
  cancelled: py.bool().nullish(),
});

export const jobInput = z.object({
  workflow: workflowModel,
  name: text.nullish(),
  description: text.nullish(),
  config: py.dict(),
  claims: z.array(claimModel).optional(),
});

export const releaseInput = z.object({ job_ids: texts });

export const operationPatch = z.object({
  done: py.bool().optional(),
  result: z.unknown().optional(),
  metadata: py.dict().optional(),
});

/** Which of them are needed depends on the grant; the route says so in the contract's words. */
export const tokenForm = z.object({
  grant_type: text.optional().describe("password or client_credentials"),
  username: text.optional(),
  password: text.optional(),
  client_id: text.optional(),
  client_secret: text.optional(),
  scope: text.optional(),
});

export const siteInput = z.object({ id: text, capability_ids: texts.optional() });

export const userInput = z.object({
  username: text,
  email: text.nullish(),
  full_name: text.nullish(),
  site_admin: texts.nullish(),
  disabled: py.bool().nullish(),
  password: text,
});

export const clientSecretPatch = z.strictObject({ secret: text.min(8).nullish() });

export const allowanceActions = [
  "/metadata/changesheets:submit",
  "/queries:run(query_cmd:DeleteCommand)",
  "/queries:run(query_cmd:AggregateCommand)",
  "/metadata/json:submit",
  "/wf_file_staging",
  "/admin/allowances",
  "/admin/site_clients",
] as const;

export const allowanceModel = z.object({ username: text, action: z.enum(allowanceActions) });

const mimeType = py.pattern(String.raw`^\w+/[-+.\w]+$`);
const fileName = py.pattern(String.raw`^[A-Za-z0-9._\-]+$`);
export const objectId = py.pattern(String.raw`^[A-Za-z0-9._~\-]+$`);

const checksumTypes =
  "(?P<checksumtype>(blake2b|blake2s|md5|sha1|sha224|sha256|sha384|sha3_224|sha3_256|sha3_384|sha3_512|sha512|shake_128|shake_256))";

const checksumModel = z.object({
  checksum: text.min(1),
  type: py.pattern(checksumTypes.replace("?P<", "?<"), checksumTypes),
});

const accessUrl = z.object({
  headers: z.record(z.string(), text).nullish(),
  url: text.superRefine((url, ctx) => {
    if (URL.canParse(url)) return;
    ctx.addIssue({
      code: "custom",
      message: "Input should be a valid URL, relative URL without a base",
      params: { type: "url_parsing", ctx: { error: "relative URL without a base" } },
    });
  }),
});

export const accessMethod = z
  .object({
    access_id: text.min(1).nullish(),
    access_url: accessUrl.nullish(),
    region: text.nullish(),
    type: z.enum(["s3", "gs", "ftp", "gsiftp", "globus", "htsget", "https", "file"]).optional(),
  })
  .refine((method) => (method.access_id ?? method.access_url ?? undefined) !== undefined, {
    message: "At least one of access_url and access_id must be provided.",
  });

export interface ContentsEntry {
  name: string;
  id?: string | null | undefined;
  drs_uri?: unknown;
  contents?: ContentsEntry[] | null | undefined;
}

export const contentsEntry: z.ZodType<ContentsEntry> = z
  .object({
    get contents() {
      return z.array(contentsEntry).nullish();
    },
    drs_uri: z.unknown().optional(),
    id: text.nullish(),
    name: text,
  })
  .refine((entry) => (entry.contents?.length ?? 0) > 0 || (entry.id ?? undefined) !== undefined, {
    message: "no contents means no further nesting, so id required",
  });

export const objectInput = z
  .object({
    aliases: texts.nullish(),
    description: text.nullish(),
    mime_type: mimeType.nullish(),
    name: fileName.nullish(),
    access_methods: z.array(accessMethod).nullish(),
    checksums: z.array(checksumModel).refine((list) => list.length > 0, { message: "At least one checksum requried" }),
    contents: z.array(contentsEntry).nullish(),
    created_time: py.dateTime(),
    size: z.int().min(0),
    updated_time: py.dateTime().nullish(),
    version: text.nullish(),
  })
  .refine((object) => (object.contents?.length ?? 0) > 0 || (object.access_methods ?? undefined) !== undefined, {
    message: "no contents means single blob, which requires access_methods",
  });
export type ObjectInput = z.output<typeof objectInput>;

export const objectTypesInput = z.array(text);

export const objectPutInput = z.object({
  mime_type: mimeType.optional(),
  name: fileName.nullish(),
  description: text.nullish(),
});

export const mintInput = z.object({
  schema_class: z.object({ id: text }),
  how_many: z.int().gt(0).max(10_000).default(1),
});
export const bindInput = z.object({ id_name: text, metadata_record: py.dict() });
export const pidDeleteInput = z.object({ id_name: text });

/** A page of a list, and what it shows. */
export const listQuery = z.object({
  filter: py.queryText(),
  max_page_size: py.queryInt(20),
  page_token: py.queryText(),
  projection: py.queryText(),
});
export type ListQuery = z.output<typeof listQuery>;
