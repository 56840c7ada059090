import { expect, it } from "vitest";
import { branchesOf, inputSchemaOf, type SchemaNode } from "../../../src/config/json-schema.ts";
import { siteSchema } from "../../../src/config/site-schema.ts";

/** Paths of all keys that have no description; those with one constant value need none. */
function undescribed(node: SchemaNode, path: string): readonly string[] {
  return branchesOf(node, undefined).flatMap((branch) => [
    ...Object.entries(branch.properties ?? {}).flatMap(([name, member]) => {
      const own = member.description === undefined && member.const === undefined ? [`${path}.${name}`] : [];
      return [...own, ...undescribed(member, `${path}.${name}`)];
    }),
    ...(typeof branch.additionalProperties === "object" ? undescribed(branch.additionalProperties, `${path}.*`) : []),
    ...(branch.items ? undescribed(branch.items, `${path}[]`) : []),
  ]);
}

it("describes every setting of the site file", () => {
  const { $defs: _json, ...schema } = inputSchemaOf(siteSchema) as SchemaNode & { readonly $defs?: unknown };
  expect(undescribed(schema, "site")).toEqual([]);
});

it("refuses unknown keys everywhere but in targets, whose further keys belong to the launcher", () => {
  const open: string[] = [];
  const visit = (node: SchemaNode, path: string): void => {
    for (const branch of branchesOf(node, undefined)) {
      if (branch.properties && branch.additionalProperties !== false) open.push(path);
      for (const [name, member] of Object.entries(branch.properties ?? {})) visit(member, `${path}.${name}`);
      if (typeof branch.additionalProperties === "object" && !branch.properties)
        visit(branch.additionalProperties, `${path}.*`);
      if (branch.items) visit(branch.items, `${path}[]`);
    }
  };
  visit(inputSchemaOf(siteSchema), "site");
  expect(open).toEqual(["site.targets.*"]);
});
