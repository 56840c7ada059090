import { z } from "zod";

/** The part of JSON Schema that zod writes and we read. */
export interface SchemaNode {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: string | number | boolean;
  readonly enum?: readonly (string | number | boolean)[];
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly additionalProperties?: boolean | SchemaNode;
  readonly propertyNames?: SchemaNode;
  readonly items?: SchemaNode;
  readonly anyOf?: readonly SchemaNode[];
  readonly oneOf?: readonly SchemaNode[];
  readonly examples?: readonly unknown[];
  readonly "x-secret"?: boolean;
}

/** The JSON Schema of what people write (before defaults and units). */
export function inputSchemaOf(schema: z.ZodType): SchemaNode {
  return z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as SchemaNode;
}

/** The schema's branches: itself, or each alternative that `data` could mean (by its constant members, as `type: string`). */
export function branchesOf(node: SchemaNode, data: unknown): readonly SchemaNode[] {
  const alternatives = node.anyOf ?? node.oneOf;
  if (!alternatives) return [node];
  const all = alternatives.flatMap((branch) => branchesOf(branch, data));
  const fitting = all.filter((branch) => constantsFit(branch, data));
  return fitting.length > 0 ? fitting : all;
}

/** What the schema says at `path` of `data`; empty when it knows no such place. `secret` is true at and below a secret. */
export function schemaAt(
  root: SchemaNode,
  path: readonly PropertyKey[],
  data: unknown,
): { readonly nodes: readonly SchemaNode[]; readonly secret: boolean } {
  let nodes: readonly SchemaNode[] = branchesOf(root, data);
  let secret = isSecret(root);
  let value = data;
  for (const step of path) {
    value = memberOf(value, step);
    const below = nodes.flatMap((node) => childOf(node, step) ?? []);
    secret ||= below.some((node) => isSecret(node));
    nodes = below.flatMap((node) => branchesOf(node, value));
  }
  return { nodes, secret };
}

/** The value of `data` at a key or index, if it has one of its own. */
export function memberOf(data: unknown, step: PropertyKey): unknown {
  if (typeof data !== "object" || data === null || !Object.hasOwn(data, step)) return undefined;
  return (data as Readonly<Record<PropertyKey, unknown>>)[step];
}

function childOf(node: SchemaNode, step: PropertyKey): SchemaNode | undefined {
  if (typeof step === "number" && node.items) return node.items;
  const own = node.properties;
  if (own && Object.hasOwn(own, String(step))) return own[String(step)];
  return typeof node.additionalProperties === "object" ? node.additionalProperties : undefined;
}

function isSecret(node: SchemaNode): boolean {
  return node["x-secret"] === true;
}

function constantsFit(node: SchemaNode, data: unknown): boolean {
  for (const [name, member] of Object.entries(node.properties ?? {})) {
    if (member.const !== undefined && memberOf(data, name) !== member.const) return false;
  }
  return true;
}
