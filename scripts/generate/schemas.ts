/** JSON Schemas for editors: `# yaml-language-server: $schema=./site.schema.json` in the first line of a file. */
import { z } from "zod";
import { siteSchema } from "../../src/config/site-schema.ts";
import { hubConfigSchema } from "../../src/hub/config.ts";
import type { GeneratedFile } from "../lib/generated.ts";

export async function files(): Promise<readonly GeneratedFile[]> {
  return [
    { path: "config/site.schema.json", content: text(siteSchema) },
    { path: "config/hub.schema.json", content: text(hubConfigSchema) },
  ];
}

function text(schema: z.ZodType): string {
  return `${JSON.stringify(z.toJSONSchema(schema, { io: "input" }), null, 2)}\n`;
}
