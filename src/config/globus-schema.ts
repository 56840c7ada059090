import { z } from "zod";
import { duration } from "../common/zod-units.ts";
import { secretSchema } from "./secret-schema.ts";

const uuid = z
  .string()
  .regex(/^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/, "the id of a collection, a UUID")
  .transform((text) => text.toLowerCase());
const address = z.string().min(1).max(1000);
const directory = z.string().min(1).max(4096);

export const globusSchema = z
  .strictObject({
    collection: uuid.meta({ description: "id of the site's own collection" }),
    paths: z
      .array(
        z.strictObject({
          local: directory.meta({ description: "a directory of this machine, absolute" }),
          remote: directory.meta({ description: "what the collection calls it, absolute" }),
        }),
      )
      .min(1)
      .max(100)
      .meta({
        description: "where the collection has this machine's directories; work directories must lie below one",
      }),
    credentials: secretSchema.meta({
      description: "JSON with client_id and refresh_token, or with client_id and client_secret",
    }),
    encrypt: z.boolean().default(false).meta({ description: "data are encrypted between the collections" }),
    checksum: z.boolean().default(true).meta({ description: "Globus compares checksums of both ends of each file" }),
    deadline: duration()
      .prefault("3d")
      .meta({ description: "a task that has not ended by then is ended by Globus, and begun anew" }),
    api: address.default("https://transfer.api.globus.org").meta({ description: "address of the Transfer API" }),
    auth: address.default("https://auth.globus.org").meta({ description: "address of Globus Auth" }),
  })
  .meta({ description: "the site's Globus collection, for globus: URLs" });
