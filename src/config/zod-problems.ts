import type { z } from "zod";
import { nearest, quoted } from "../common/nearest.ts";
import { branchesOf, memberOf, type SchemaNode, schemaAt } from "./json-schema.ts";
import { type ConfigProblem, pathText } from "./problems.ts";
import type { ParsedYaml } from "./yaml-text.ts";

type Issue = z.core.$ZodIssue;

interface Context {
  readonly file: string;
  readonly yaml: ParsedYaml;
  readonly schema: SchemaNode;
}

/** What zod found, in our words: with position, value, what is allowed and the nearest known word. */
export function problemsOf(issues: readonly Issue[], context: Context): readonly ConfigProblem[] {
  return issues.flatMap((issue) => problemsOfIssue(issue, [], context));
}

function problemsOfIssue(issue: Issue, above: readonly PropertyKey[], context: Context): readonly ConfigProblem[] {
  const path = [...above, ...issue.path];
  if (issue.code === "unrecognized_keys") return issue.keys.map((key) => unknownKey(path, key, context));
  if (issue.code === "invalid_union" && issue.errors.length > 0) return ofUnion(issue, path, context);
  if (issue.code === "invalid_key" || issue.code === "invalid_element") {
    const position = context.yaml.locateKey(path);
    const key = String(path.at(-1));
    const allowed = issue.issues.map((inner) => inner.message).join("; ");
    return [
      {
        ...placed(path, position, context),
        message: `${quoted(key)} is not a name that can be used`,
        value: key,
        allowed,
      },
    ];
  }
  return [simple(issue, path, context)];
}

function unknownKey(path: readonly PropertyKey[], key: string, context: Context): ConfigProblem {
  const full = [...path, key];
  const { nodes } = schemaAt(context.schema, path, context.yaml.value);
  const known = [...new Set(nodes.flatMap(namesOf))].filter((name) => name !== "$schema");
  return {
    ...placed(full, context.yaml.locateKey(full), context),
    message: `unknown key ${quoted(key)}`,
    value: key,
    allowed: known.join(", "),
    nearest: nearest(key, known),
  };
}

function namesOf(node: SchemaNode): readonly string[] {
  return node.propertyNames?.enum?.map(String) ?? Object.keys(node.properties ?? {});
}

/** The branch that fits best tells what is wrong; when none fits the kind of value, all are named. */
function ofUnion(
  issue: Extract<Issue, { code: "invalid_union" }>,
  path: readonly PropertyKey[],
  context: Context,
): readonly ConfigProblem[] {
  const { secret } = schemaAt(context.schema, path, context.yaml.value);
  const wrongKind = issue.errors.every((errors) =>
    errors.some((inner) => inner.code === "invalid_type" && inner.path.length === 0),
  );
  if (wrongKind) {
    const message = secret ? "a secret is never written into this file" : `${shown(path, context)} does not fit`;
    return [
      {
        ...placed(path, context.yaml.locate(path), context),
        message,
        value: valueAt(path, context),
        allowed: kindsAt(path, context),
      },
    ];
  }
  const fitting = issue.errors.filter(
    (errors) => !errors.some((inner) => inner.code === "invalid_type" && inner.path.length === 0),
  );
  const candidates = fitting.length > 0 ? fitting : issue.errors;
  const best = candidates.toSorted((a, b) => weight(a) - weight(b))[0] ?? [];
  return best.flatMap((inner) => problemsOfIssue(inner, path, context));
}

function weight(issues: readonly Issue[]): number {
  let sum = 0;
  for (const issue of issues) sum += issue.code === "unrecognized_keys" ? 2 * issue.keys.length : 1;
  return sum;
}

function simple(issue: Issue, path: readonly PropertyKey[], context: Context): ConfigProblem {
  const value = valueAt(path, context);
  const here = placed(path, context.yaml.locate(path), context);
  if (
    rawAt(path, context) === undefined &&
    (issue.code === "invalid_type" || issue.code === "invalid_value" || issue.code === "invalid_union")
  ) {
    return { ...here, message: `${quoted(String(path.at(-1) ?? "file"))} is missing`, allowed: kindsAt(path, context) };
  }
  if (issue.code === "custom") {
    const [message = "", allowed] = issue.message.split("; allowed: ", 2);
    return { ...here, message, value, allowed };
  }
  const { allowed, words } = allowedBy(issue, path, context);
  const near =
    typeof rawAt(path, context) === "string" && words ? nearest(String(rawAt(path, context)), words) : undefined;
  return { ...here, message: `${shown(path, context)} does not fit`, value, allowed, nearest: near };
}

function allowedBy(
  issue: Issue,
  path: readonly PropertyKey[],
  context: Context,
): { readonly allowed: string; readonly words?: readonly string[] } {
  switch (issue.code) {
    case "invalid_value":
      return { allowed: issue.values.map(String).join(", "), words: issue.values.map(String) };
    case "invalid_union": {
      const words = optionsOf(issue, path, context);
      return { allowed: words.join(", "), words };
    }
    case "too_small":
      return {
        allowed: `${amount(issue.origin)}${issue.inclusive === false ? "more than" : "at least"} ${issue.minimum}`,
      };
    case "too_big":
      return {
        allowed: `${amount(issue.origin)}${issue.inclusive === false ? "less than" : "at most"} ${issue.maximum}`,
      };
    case "invalid_type":
      return { allowed: kindsAt(path, context) ?? issue.expected };
    default:
      return { allowed: issue.message };
  }
}

function optionsOf(issue: Issue, path: readonly PropertyKey[], context: Context): readonly string[] {
  if ("options" in issue && Array.isArray(issue.options)) return issue.options.map(String);
  const parent = schemaAt(context.schema, path.slice(0, -1), undefined).nodes;
  return parent.flatMap((node) => {
    const constant = node.properties?.[String(path.at(-1))]?.const;
    return constant === undefined ? [] : [String(constant)];
  });
}

function amount(origin: string): string {
  if (origin === "array") return "a list with ";
  return origin === "string" ? "text with a length of " : "";
}

/** What kinds of value the schema takes at `path`, in words. */
function kindsAt(path: readonly PropertyKey[], context: Context): string | undefined {
  const above = schemaAt(context.schema, path.slice(0, -1), parentValue(path, context)).nodes;
  const last = path.at(-1);
  const nodes = last === undefined ? [context.schema] : schemaAt(context.schema, path, context.yaml.value).nodes;
  const described = above.flatMap((node) =>
    last === undefined ? [] : (node.properties?.[String(last)]?.description ?? []),
  );
  const kinds = [...new Set(nodes.flatMap((node) => branchesOf(node, undefined)).map(kindOf))];
  if (kinds.length === 0) return described[0];
  const text = kinds.join(" or ");
  return described[0] === undefined ? text : `${text} (${described[0]})`;
}

function parentValue(path: readonly PropertyKey[], context: Context): unknown {
  return path.length === 0 ? undefined : context.yaml.value;
}

function kindOf(node: SchemaNode): string {
  if (node.const !== undefined) return String(node.const);
  if (node.enum) return node.enum.map(String).join(", ");
  switch (node.type) {
    case "object": {
      const keys = Object.keys(node.properties ?? {});
      return keys.length > 0 && keys.length <= 4 ? `{${keys.map((key) => `${key}: …`).join(", ")}}` : "a mapping";
    }
    case "array":
      return "a list";
    case "string":
      return "text";
    case "integer":
      return "a whole number";
    case "number":
      return "a number";
    case "boolean":
      return "true or false";
    default:
      return "any value";
  }
}

function rawAt(path: readonly PropertyKey[], context: Context): unknown {
  let value = context.yaml.value;
  for (const step of path) value = memberOf(value, step);
  return value;
}

/** The value for a message, in quotes; never a secret, never a whole tree. */
function shown(path: readonly PropertyKey[], context: Context): string {
  if (schemaAt(context.schema, path, context.yaml.value).secret) return "the value";
  const raw = rawAt(path, context);
  if (Array.isArray(raw)) return raw.length === 1 ? "a list with 1 entry" : `a list with ${raw.length} entries`;
  if (typeof raw === "object" && raw !== null) return "a mapping";
  return quoted(raw === null ? "null" : raw);
}

function valueAt(path: readonly PropertyKey[], context: Context): string | undefined {
  const raw = rawAt(path, context);
  if (raw === undefined || schemaAt(context.schema, path, context.yaml.value).secret) return undefined;
  return shown(path, context);
}

function placed(
  path: readonly PropertyKey[],
  position: { readonly line: number; readonly column: number } | undefined,
  context: Context,
): Pick<ConfigProblem, "file" | "line" | "column" | "path"> {
  return { file: context.file, line: position?.line, column: position?.column, path: pathText(path) };
}
