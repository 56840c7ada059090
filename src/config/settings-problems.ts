import type { z } from "zod";
import { inputSchemaOf, type SchemaNode } from "./json-schema.ts";
import type { LoadedConfig } from "./load.ts";
import type { SiteSettings } from "./site-schema.ts";
import { problemsOf } from "./zod-problems.ts";

/**
 * Adds what an adapter's own schema found at `path` of the site file. `around`: keys that stand beside its own and are checked elsewhere.
 */
export function addSettingsProblems(
  loaded: LoadedConfig<SiteSettings>,
  path: readonly string[],
  checked: { readonly schema: z.ZodType; readonly issues: readonly z.core.$ZodIssue[] },
  around: readonly string[] = [],
): void {
  const { yaml, file, report } = loaded;
  const own = inputSchemaOf(checked.schema);
  const beside = Object.fromEntries(around.map((key) => [key, {}]));
  const here: SchemaNode = { ...own, type: "object", properties: { ...beside, ...own.properties } };
  const root = path.reduceRight<SchemaNode>((node, step) => ({ type: "object", properties: { [step]: node } }), here);
  const moved = checked.issues.map((issue) => ({ ...issue, path: [...path, ...issue.path] }));
  for (const problem of problemsOf(moved, { file, yaml, schema: root })) report.addProblem(problem);
}
