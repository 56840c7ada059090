import type { z } from "zod";
import { Fault } from "../../common/fault.ts";
import { quoted } from "../../common/nearest.ts";
import { inputSchemaOf } from "../../config/json-schema.ts";
import { siteSchema } from "../../config/site-schema.ts";
import { type CliContext, printData } from "../context.ts";
import { hintNearest } from "../hints.ts";
import type { CommandCall } from "../spec.ts";

/** `siteagent config schema [site|hub]`: JSON Schema (always JSON unless `-o yaml`). */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  const [which = "site"] = call.args;
  const schema = await schemaNamed(which);
  await printData(context.format === "yaml" ? context : { ...context, format: "json" }, inputSchemaOf(schema));
  return 0;
}

async function schemaNamed(which: string): Promise<z.ZodType> {
  if (which === "site") return siteSchema;
  if (which === "hub") return (await import("../../hub/config.ts")).hubConfigSchema;
  throw new Fault("USAGE", `there is no schema ${quoted(which)}`, { hint: hintNearest(which, ["site", "hub"]) });
}
