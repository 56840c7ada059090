/**
 * Validation answers in pydantic's words, from zod schemas. `type` and `loc` of an entry count for clients; the rest is for people. The
 * `py` types behave as pydantic's lax mode does where zod's would not.
 */
import { z } from "zod";
import { HttpProblem, type ValidationEntry } from "./problem.ts";
import { parseDateTime } from "./nmdc/times.ts";

export type Where = "body" | "query" | "path" | "header";

/** Entries longer than this are cut; one bad bulk request should not answer megabytes. */
const mostEntries = 100;

/** Checks `value` against `schema`; throws the 422 of the contract. A body that is absent or null is "missing". */
export function validate<Schema extends z.ZodType>(schema: Schema, value: unknown, where: Where): z.output<Schema> {
  if (where === "body" && (value === undefined || value === null) && !schema.safeParse(undefined).success) {
    throw new HttpProblem(422, [{ type: "missing", loc: ["body"], msg: "Field required", input: null }]);
  }
  const parsed = schema.safeParse(value, { reportInput: true });
  if (parsed.success) return parsed.data;
  throw new HttpProblem(422, entriesOf(parsed.error, value, where));
}

export function entriesOf(error: z.ZodError, value: unknown, where: Where): ValidationEntry[] {
  return error.issues.slice(0, mostEntries).flatMap((issue) => entriesOfIssue(issue as z.core.$ZodIssue, value, where));
}

function entriesOfIssue(issue: z.core.$ZodIssue, root: unknown, where: Where): ValidationEntry[] {
  const path = issue.path.map((part) => (typeof part === "symbol" ? String(part) : part));
  const loc = [where, ...path];
  const input = at(root, path);
  if (issue.code === "invalid_union" && issue.errors.length > 0) {
    return closest(issue.errors).flatMap((inner) =>
      entriesOfIssue({ ...inner, path: [...issue.path, ...inner.path] }, root, where),
    );
  }
  if (issue.code === "invalid_key" && issue.issues[0]) {
    const { type, msg, ctx } = wordsOf(issue.issues[0]);
    return [{ type, loc: [...loc, "[key]"], msg, input: path.at(-1) ?? null, ...(ctx === undefined ? {} : { ctx }) }];
  }
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({
      type: "extra_forbidden",
      loc: [...loc, key],
      msg: "Extra inputs are not permitted",
      input: at(root, [...path, key]),
    }));
  }
  if (input === undefined && path.length > 0) {
    const parent = at(root, path.slice(0, -1));
    return [{ type: "missing", loc, msg: "Field required", input: where === "body" ? (parent ?? null) : null }];
  }
  const asText = (where === "query" || where === "path") && typeof input === "string";
  const { type, msg, ctx } = asText && isWrongNumber(issue) ? unreadableNumber : wordsOf(issue);
  return [{ type, loc, msg, input: input ?? null, ...(ctx === undefined ? {} : { ctx }) }];
}

/** Of the alternatives of a union the one that the value comes closest to: right down to the deepest place, else of the right type. */
function closest(alternatives: readonly (readonly z.core.$ZodIssue[])[]): readonly z.core.$ZodIssue[] {
  const depth = (issues: readonly z.core.$ZodIssue[]): number => Math.min(...issues.map((issue) => issue.path.length));
  const wrongType = (issues: readonly z.core.$ZodIssue[]): number =>
    Number(issues.some((issue) => issue.code === "invalid_type" && issue.path.length === 0));
  const [best] = alternatives.toSorted((a, b) => depth(b) - depth(a) || wrongType(a) - wrongType(b));
  return best ?? [];
}

function isWrongNumber(issue: z.core.$ZodIssue): boolean {
  return issue.code === "invalid_type" && (issue.expected === "number" || issue.expected === "int");
}

interface Words {
  readonly type: string;
  readonly msg: string;
  readonly ctx?: Readonly<Record<string, unknown>>;
}

const wrongTypes: Readonly<Record<string, Words>> = {
  string: { type: "string_type", msg: "Input should be a valid string" },
  array: { type: "list_type", msg: "Input should be a valid list" },
  record: { type: "dict_type", msg: "Input should be a valid dictionary" },
  object: { type: "model_attributes_type", msg: "Input should be a valid dictionary or object to extract fields from" },
  number: { type: "int_type", msg: "Input should be a valid integer" },
  int: { type: "int_type", msg: "Input should be a valid integer" },
  boolean: { type: "bool_type", msg: "Input should be a valid boolean" },
};

/** Text of a query or path that should be a number. */
const unreadableNumber: Words = {
  type: "int_parsing",
  msg: "Input should be a valid integer, unable to parse string as an integer",
};

const unreadableTime: Words = {
  type: "datetime_from_date_parsing",
  msg: "Input should be a valid datetime with its zone, as 2026-11-20T08:00:00Z",
};

function wordsOf(issue: z.core.$ZodIssue): Words {
  switch (issue.code) {
    case "invalid_type":
      return wrongTypes[issue.expected] ?? { type: "value_error", msg: issue.message };
    case "too_small":
      return tooSmall(issue);
    case "too_big":
      if (issue.origin === "string")
        return {
          type: "string_too_long",
          msg: `String should have at most ${issue.maximum} characters`,
          ctx: { max_length: Number(issue.maximum) },
        };
      return {
        type: "less_than_equal",
        msg: `Input should be less than or equal to ${issue.maximum}`,
        ctx: { le: Number(issue.maximum) },
      };
    case "invalid_format": {
      if (issue.format === "datetime") return unreadableTime;
      const pattern = (issue.pattern ?? issue.format).replace(/^\/(.*)\/[a-z]*$/s, "$1");
      return { type: "string_pattern_mismatch", msg: `String should match pattern '${pattern}'`, ctx: { pattern } };
    }
    case "invalid_value":
      return enumeration(issue.values.map(String));
    case "custom":
      return custom(issue);
    default:
      return { type: "value_error", msg: issue.message };
  }
}

function tooSmall(issue: z.core.$ZodIssueTooSmall): Words {
  const minimum = Number(issue.minimum);
  if (issue.origin === "string") {
    return {
      type: "string_too_short",
      msg: `String should have at least ${minimum} character${minimum === 1 ? "" : "s"}`,
      ctx: { min_length: minimum },
    };
  }
  if (issue.origin === "array")
    return { type: "too_short", msg: `List should have at least ${minimum} items`, ctx: { min_length: minimum } };
  return issue.inclusive
    ? { type: "greater_than_equal", msg: `Input should be greater than or equal to ${minimum}`, ctx: { ge: minimum } }
    : { type: "greater_than", msg: `Input should be greater than ${minimum}`, ctx: { gt: minimum } };
}

function enumeration(values: readonly string[]): Words {
  const quoted = values.map((value) => `'${value}'`);
  const expected = quoted.length < 2 ? quoted.join("") : `${quoted.slice(0, -1).join(", ")} or ${quoted.at(-1) ?? ""}`;
  return { type: "enum", msg: `Input should be ${expected}`, ctx: { expected } };
}

function custom(issue: z.core.$ZodIssueCustom): Words {
  const type = issue.params?.["type"];
  const ctx = issue.params?.["ctx"];
  if (typeof type !== "string")
    return { type: "value_error", msg: `Value error, ${issue.message}`, ctx: { error: {} } };
  return { type, msg: issue.message, ...(ctx === undefined ? {} : { ctx: ctx as Record<string, unknown> }) };
}

function at(root: unknown, path: readonly (string | number)[]): unknown {
  let value = root;
  for (const part of path) {
    if (typeof value !== "object" || value === null) return undefined;
    value = (value as Record<string | number, unknown>)[part];
  }
  return value;
}

const truths: Readonly<Record<string, boolean>> = {
  "0": false,
  off: false,
  f: false,
  false: false,
  n: false,
  no: false,
  "1": true,
  on: true,
  t: true,
  true: true,
  y: true,
  yes: true,
};

/** A JSON object of any content. */
const dict = z.record(z.string(), z.unknown());

export const py = {
  /** Booleans as pydantic reads them: also `"yes"`, `"off"`, 0, 1. */
  bool() {
    return z
      .any()
      .transform((value: unknown, ctx): boolean => {
        if (typeof value === "boolean") return value;
        const known =
          typeof value === "string" || typeof value === "number" ? truths[String(value).toLowerCase()] : undefined;
        if (known !== undefined) return known;
        const parsable = typeof value === "string" || typeof value === "number";
        const type = value === undefined ? "missing" : parsable ? "bool_parsing" : "bool_type";
        const message = parsable
          ? "Input should be a valid boolean, unable to interpret input"
          : "Input should be a valid boolean";
        ctx.addIssue({ code: "custom", message, params: { type } });
        return z.NEVER;
      })
      .meta({ type: "boolean" });
  },
  /** A whole number of a query string. */
  queryInt(missing: number) {
    return z
      .unknown()
      .optional()
      .transform((value: unknown, ctx): number => {
        const text = Array.isArray(value) ? String(value.at(-1)) : value;
        if (text === undefined) return missing;
        if (typeof text === "string" && /^\s*[-+]?\d+(?:_\d+)*(?:\.0*)?\s*$/.test(text))
          return Number.parseInt(text.replaceAll("_", ""), 10);
        ctx.addIssue({
          code: "custom",
          message: "Input should be a valid integer, unable to parse string as an integer",
          params: { type: "int_parsing" },
        });
        return z.NEVER;
      })
      .meta({ type: "integer", default: missing });
  },
  /** A parameter of a query string; the last one counts, as in FastAPI. */
  queryText() {
    return z.preprocess((value) => (Array.isArray(value) ? (value.at(-1) as unknown) : value), z.string().optional());
  },
  pattern(source: string, label = source) {
    const pattern = new RegExp(source, "u");
    return z.string().superRefine((text, ctx) => {
      if (!pattern.test(text))
        ctx.addIssue({
          code: "custom",
          message: `String should match pattern '${label}'`,
          params: { type: "string_pattern_mismatch", ctx: { pattern: label } },
        });
    });
  },
  /** ISO text, or seconds since 1970; the parsed parts. */
  dateTime() {
    return z
      .any()
      .transform((value: unknown, ctx) => {
        const parsed = parseDateTime(value);
        if ("at" in parsed) return parsed;
        ctx.addIssue({
          code: "custom",
          message: parsed.msg,
          params: { type: parsed.type, ...(parsed.error === undefined ? {} : { ctx: { error: parsed.error } }) },
        });
        return z.NEVER;
      })
      .meta({ type: "string", format: "date-time" });
  },
  dict: () => dict,
};
