/** Keys of `remotes.NAME.s3`. */
import { z } from "zod";
import { size } from "../common/zod-units.ts";
import { secretSchema } from "./secret-schema.ts";

/** A file in the format of `~/.aws/credentials`, as other programs keep it. */
const fileSchema = z.strictObject({
  file: z
    .string()
    .min(1)
    .max(4096)
    .meta({ description: "file in the format of ~/.aws/credentials, with mode 0600 or 0400" }),
  profile: z.string().min(1).max(256).default("default").meta({ description: "the section of it" }),
});

const keysSchema = z.strictObject({
  access_key: secretSchema,
  secret_key: secretSchema,
  session_token: secretSchema.optional(),
});

/** No enumeration: of a mapping with a mistake the mistake is told, not that it is none of these words. */
const roleSchema = z
  .string()
  .regex(/^(?:anonymous|instance-role|container-role)$/, "anonymous, instance-role, container-role or a mapping")
  .meta({ "x-secret": true });

const credentialsSchema = z.union([roleSchema, fileSchema, keysSchema]).meta({
  "x-secret": true,
  description:
    "{file: PATH, profile: NAME}, {access_key: {file: …}, secret_key: {file: …}}, instance-role (of a cloud's machine), container-role, or anonymous",
});

export const s3Schema = z
  .strictObject({
    endpoint: z
      .string()
      .max(2048)
      .optional()
      .meta({
        description: "address of the server; default: that of AWS for the region",
        examples: ["https://s3.example.org"],
      }),
    region: z
      .string()
      .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, "small letters, digits and -")
      .default("us-east-1")
      .meta({ description: "the region that requests are signed for; many servers take any" }),
    buckets: z
      .array(
        z
          .string()
          .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, "the name of a bucket: 3 to 63 small letters, digits, . and -"),
      )
      .min(1)
      .max(1000)
      .meta({ description: "archive:/ stands for the first; the others, and it, are reached as s3://BUCKET/key" }),
    path_style: z.boolean().optional().meta({
      description: "https://host/bucket/key, not https://bucket.host/key; default: true where an endpoint is named",
    }),
    credentials: credentialsSchema,
    part_size: size().prefault("16MiB").meta({
      description:
        "files that are larger go up in parts of this size (5 MiB to 5 GiB), or of larger ones where they would be more than 10,000",
    }),
    parts: z.int().min(1).max(64).default(4).meta({ description: "parts of one file that go up at the same time" }),
    allow_http: z
      .boolean()
      .default(false)
      .meta({ description: "allow an endpoint by http:// that is not this machine (contents travel in clear)" }),
  })
  .meta({ description: "reach it as an S3-compatible object store" });

export type S3Input = z.output<typeof s3Schema>;
