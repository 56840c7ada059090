/**
 * MongoDB `find` queries: from the text of `filter` to a small tree that sql.ts compiles and match.ts evaluates. Which operators
 * exist, and what is refused, is decided here and nowhere else.
 */
import { Fault } from "../../common/fault.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../../common/json.ts";
import { complaintText } from "./python-json.ts";
import { packRegex } from "./regex.ts";

/** A test of one value that a path leads to. Values are as stored: dates are `{"$date": ms}`. */
export type Test =
  | { readonly op: "eq"; readonly value: JsonValue }
  | { readonly op: "gt" | "gte" | "lt" | "lte"; readonly value: number | string | boolean | StoredDateValue }
  | { readonly op: "regex"; readonly pattern: string }
  | { readonly op: "type"; readonly types: readonly ValueType[] }
  | { readonly op: "exists" }
  | { readonly op: "size"; readonly size: number }
  | { readonly op: "mod"; readonly divisor: number; readonly remainder: number }
  /** An array with an element that is an object and matches. */
  | { readonly op: "elements"; readonly query: Query }
  /** An array with an element that passes all these tests. */
  | { readonly op: "element"; readonly tests: readonly { readonly not: boolean; readonly anyOf: readonly Test[] }[] }
  | { readonly op: "never" };

export interface StoredDateValue extends JsonObject {
  readonly $date: number;
}

export const valueTypes = ["string", "number", "bool", "null", "object", "array", "date"] as const;
export type ValueType = (typeof valueTypes)[number];

export type Query =
  | { readonly op: "and" | "or"; readonly of: readonly Query[] }
  | { readonly op: "not"; readonly of: Query }
  /** Some value at the path passes some of the tests. */
  | { readonly op: "some"; readonly path: readonly string[]; readonly tests: readonly Test[] };

/** Everything matches. */
export const matchAll: Query = { op: "and", of: [] };

const longestFilter = 100_000;
const deepestQuery = 50;
const mostNodes = 1_000;
/** Each number in a path doubles the ways to read it. */
const mostNumbers = 3;

/** Parses the `filter` parameter exactly as the contract says; undefined or empty text = no filter. Throws `BAD_FILTER`. */
export function parseFilter(text: string | undefined): Query | undefined {
  if (text === undefined || text === "") return undefined;
  const trimmed = text.trim();
  if (!trimmed.startsWith("{") || !trimmed.endsWith("}")) {
    throw new Fault(
      "BAD_FILTER",
      "The given `filter` is not a valid JSON object, which must start with '{' and end with '}'.",
    );
  }
  if (trimmed.length > longestFilter)
    throw refused(`a filter of ${trimmed.length} characters is too long; ${longestFilter} are allowed`);
  let value: JsonValue;
  try {
    value = JSON.parse(trimmed) as JsonValue;
  } catch {
    throw new Fault("BAD_FILTER", `Given \`filter\` is not valid JSON: ${complaintText(trimmed)}`);
  }
  return parseQuery(value as JsonObject);
}

/** A query object to the tree. Throws `BAD_FILTER`. */
export function parseQuery(object: JsonObject): Query {
  return new Parser().query(object, 0);
}

class Parser {
  #nodes = 0;

  query(object: JsonObject, depth: number): Query {
    this.#count(depth);
    const parts: Query[] = [];
    for (const [key, value] of entriesOf(object)) {
      if (!key.startsWith("$")) parts.push(this.#field(key, value, depth));
      else if (key !== "$comment") parts.push(this.#logical(key, value, depth));
    }
    return parts.length === 1 && parts[0] ? parts[0] : { op: "and", of: parts };
  }

  #count(depth: number): void {
    if (depth > deepestQuery) throw refused("the filter is nested too deeply");
    if (++this.#nodes > mostNodes) throw refused(`the filter has more than ${mostNodes} conditions`);
  }

  #logical(key: string, value: JsonValue, depth: number): Query {
    if (key !== "$and" && key !== "$or" && key !== "$nor") throw refused(`unknown top level operator '${key}'`);
    if (!Array.isArray(value) || value.length === 0) throw refused(`'${key}' must be a list that is not empty`);
    const of = value.map((item: JsonValue) => {
      if (!isJsonObject(item)) throw refused(`the entries of '${key}' must be objects`);
      return this.query(item, depth + 1);
    });
    if (key === "$and") return { op: "and", of };
    return key === "$or" ? { op: "or", of } : { op: "not", of: { op: "or", of } };
  }

  #field(name: string, value: JsonValue, depth: number): Query {
    this.#count(depth);
    const path = pathOf(name);
    if (!isOperators(value)) return some(path, [equals(value)]);
    return this.#operators(path, value, depth);
  }

  #operators(path: readonly string[], operators: JsonObject, depth: number): Query {
    const parts: Query[] = [];
    for (const [key, value] of entriesOf(operators)) {
      this.#count(depth);
      if (key === "$options") {
        if (operators["$regex"] === undefined) throw refused("$options needs a $regex");
        continue;
      }
      parts.push(this.#operator(path, key, value, operators, depth));
    }
    return parts.length === 1 && parts[0] ? parts[0] : { op: "and", of: parts };
  }

  #operator(path: readonly string[], key: string, value: JsonValue, all: JsonObject, depth: number): Query {
    switch (key) {
      case "$ne":
        return not(some(path, [equals(value)]));
      case "$nin":
        return not(some(path, alternatives(key, value)));
      case "$not":
        if (isRegex(value)) return not(some(path, [equals(value)]));
        if (!isOperators(value)) throw refused("$not needs an object with operators");
        return not(this.#operators(path, value, depth + 1));
      case "$exists":
        return value === false || value === 0 || value === null
          ? not(some(path, [{ op: "exists" }]))
          : some(path, [{ op: "exists" }]);
      case "$all":
        return this.#all(path, value, depth);
      default:
        return some(path, this.#tests(key, value, all, depth));
    }
  }

  #all(path: readonly string[], value: JsonValue, depth: number): Query {
    if (!Array.isArray(value)) throw refused("'$all' must be a list");
    if (value.length === 0) return some(path, [{ op: "never" }]);
    const of = value.map((item: JsonValue) => {
      this.#count(depth);
      if (isJsonObject(item) && item["$elemMatch"] !== undefined)
        return some(path, [this.#elemMatch(item["$elemMatch"], depth)]);
      return some(path, [equals(item)]);
    });
    return { op: "and", of };
  }

  /** Operators that are tests of a single value: any of the returned ones suffices. */
  #tests(key: string, value: JsonValue, all: JsonObject, depth: number): Test[] {
    switch (key) {
      case "$eq":
        return [equals(value)];
      case "$in":
        return alternatives(key, value);
      case "$gt":
      case "$gte":
      case "$lt":
      case "$lte":
        return [comparison(key.slice(1) as "gt" | "gte" | "lt" | "lte", value)];
      case "$regex":
        return [regex(value, all["$options"])];
      case "$size":
        if (typeof value !== "number" || !Number.isInteger(value) || value < 0)
          throw refused("'$size' must be a whole number, 0 or more");
        return [{ op: "size", size: value }];
      case "$type":
        return [typeTest(value)];
      case "$mod":
        return [modulo(value)];
      case "$elemMatch":
        return [this.#elemMatch(value, depth)];
      default:
        throw refused(`unknown operator '${key}'`);
    }
  }

  #elemMatch(value: JsonValue, depth: number): Test {
    if (!isJsonObject(value)) throw refused("'$elemMatch' needs an object");
    const keys = Object.keys(value);
    const ofValues =
      keys.length > 0 &&
      keys.every((key) => key.startsWith("$")) &&
      !keys.some((key) => ["$and", "$or", "$nor"].includes(key));
    if (!ofValues) return { op: "elements", query: this.query(value, depth + 1) };
    const tests: { not: boolean; anyOf: readonly Test[] }[] = [];
    this.#elementTests(value, false, tests, depth + 1);
    return { op: "element", tests };
  }

  #elementTests(
    operators: JsonObject,
    negated: boolean,
    into: { not: boolean; anyOf: readonly Test[] }[],
    depth: number,
  ): void {
    this.#count(depth);
    for (const [key, value] of entriesOf(operators)) {
      if (key === "$options") continue;
      if (key === "$not") {
        if (negated || !isOperators(value) || Object.keys(value).length !== 1)
          throw refused("$not inside $elemMatch takes one operator");
        this.#elementTests(value, true, into, depth + 1);
      } else if (key === "$ne" || key === "$nin") {
        into.push({ not: !negated, anyOf: key === "$ne" ? [equals(value)] : alternatives(key, value) });
      } else if (key === "$exists") {
        const wanted = !(value === false || value === 0 || value === null);
        into.push({ not: wanted === negated, anyOf: [{ op: "exists" }] });
      } else {
        into.push({ not: negated, anyOf: this.#tests(key, value, operators, depth) });
      }
    }
  }
}

function refused(message: string): Fault {
  return new Fault("BAD_FILTER", message);
}

function not(of: Query): Query {
  return { op: "not", of };
}

function some(path: readonly string[], tests: readonly Test[]): Query {
  return { op: "some", path, tests };
}

function entriesOf(object: JsonObject): [string, JsonValue][] {
  return Object.entries(object).map(([key, value]) => [key, value ?? null]);
}

/** Quotation marks, backslashes and control characters mean something in SQLite's paths; no field that we know has them. */
function pathOf(name: string): string[] {
  const path = name.split(".");
  if (path.length > 20) throw refused(`the field name '${name.slice(0, 50)}…' has too many parts`);
  if (path.some((part) => part === "" || part.startsWith("$") || hasOddCharacters(part))) {
    throw refused(`the field name '${name}' cannot be used in a filter`);
  }
  if (path.slice(1).filter((part) => isIndex(part)).length > mostNumbers)
    throw refused(`the field name '${name}' has more than ${mostNumbers} numbers`);
  return path;
}

function hasOddCharacters(part: string): boolean {
  return /["\\]/.test(part) || Array.from(part).some((letter) => letter < " ") || !part.isWellFormed();
}

/** True for a part of a path that may be a position in an array. */
export function isIndex(part: string): boolean {
  return /^(?:0|[1-9]\d{0,8})$/.test(part);
}

/** True for `{"$gt": …}`; false for plain values, also for extended JSON such as `{"$date": …}` and for a regex object. */
function isOperators(value: JsonValue): value is JsonObject {
  if (!isJsonObject(value) || isExtended(value)) return false;
  const keys = Object.keys(value);
  const operators = keys.filter((key) => key.startsWith("$")).length;
  if (operators > 0 && operators < keys.length)
    throw refused("operators and plain fields cannot be mixed in one object");
  return operators > 0;
}

const extendedKeys = ["$date", "$numberLong", "$numberInt", "$numberDouble", "$regularExpression"];

function isExtended(value: JsonObject): boolean {
  const keys = Object.keys(value);
  return keys.length === 1 && extendedKeys.includes(keys[0] ?? "");
}

function isRegex(value: JsonValue): value is JsonObject {
  if (!isJsonObject(value)) return false;
  const keys = Object.keys(value);
  if (keys.length === 1 && keys[0] === "$regularExpression") return true;
  return typeof value["$regex"] === "string" && keys.every((key) => key === "$regex" || key === "$options");
}

function equals(value: JsonValue): Test {
  if (isRegex(value)) {
    const inner = value["$regularExpression"];
    if (isJsonObject(inner)) return regex(inner["pattern"] ?? null, inner["options"]);
    return regex(value["$regex"] ?? null, value["$options"]);
  }
  return { op: "eq", value: plain(value) };
}

function alternatives(key: string, value: JsonValue): Test[] {
  if (!Array.isArray(value)) throw refused(`'${key}' must be a list`);
  return value.length === 0 ? [{ op: "never" }] : value.map((item: JsonValue) => equals(item));
}

function comparison(op: "gt" | "gte" | "lt" | "lte", value: JsonValue): Test {
  const bound = plain(value);
  if (bound === null) return op === "gte" || op === "lte" ? { op: "eq", value: null } : { op: "never" };
  if (typeof bound === "string" || typeof bound === "number" || typeof bound === "boolean") return { op, value: bound };
  if (isDate(bound)) return { op, value: bound };
  throw refused(`'$${op}' compares text, numbers, booleans and dates only`);
}

function regex(source: JsonValue, options: JsonValue | undefined): Test {
  if (typeof source !== "string") throw refused("'$regex' must be text");
  if (options !== undefined && typeof options !== "string") throw refused("'$options' must be text");
  if (!source.isWellFormed() || source.includes("\u0000"))
    throw refused("'$regex' has characters that cannot be stored");
  return { op: "regex", pattern: packRegex(source, options ?? "") };
}

const typeNumbers: Readonly<Record<number, ValueType>> = {
  1: "number",
  2: "string",
  3: "object",
  4: "array",
  8: "bool",
  9: "date",
  10: "null",
  16: "number",
  18: "number",
};
const typeNames: Readonly<Record<string, ValueType>> = {
  double: "number",
  int: "number",
  long: "number",
  decimal: "number",
};

function typeTest(value: JsonValue): Test {
  const wanted = Array.isArray(value) ? (value as readonly JsonValue[]) : [value];
  if (wanted.length === 0) throw refused("'$type' must not be an empty list");
  const types = wanted.map((one) => {
    if (typeof one === "number" && typeNumbers[one]) return typeNumbers[one];
    const name = typeof one === "string" ? (typeNames[one] ?? valueTypes.find((known) => known === one)) : undefined;
    if (name === undefined) throw refused(`'$type' does not know '${JSON.stringify(one)}'`);
    return name;
  });
  return { op: "type", types };
}

function modulo(value: JsonValue): Test {
  if (
    !Array.isArray(value) ||
    value.length !== 2 ||
    !value.every((one) => typeof one === "number" && Number.isSafeInteger(one))
  ) {
    throw refused("'$mod' needs a list of two whole numbers");
  }
  const [divisor = 0, remainder = 0] = value as number[];
  if (divisor === 0) throw refused("'$mod' cannot divide by 0");
  return { op: "mod", divisor, remainder };
}

export function isDate(value: JsonValue | undefined): value is JsonObject & StoredDateValue {
  return isJsonObject(value) && typeof value["$date"] === "number" && Object.keys(value).length === 1;
}

/** Extended JSON to stored values, deep. */
function plain(value: JsonValue): JsonValue {
  if (typeof value === "string") {
    // What cannot be stored is equal to nothing; PostgreSQL does not even take it as a parameter.
    if (value.includes("\u0000") || !value.isWellFormed())
      throw refused("the filter has characters that cannot be stored");
    return value;
  }
  if (Array.isArray(value)) return value.map((item: JsonValue) => plain(item));
  if (!isJsonObject(value)) return value;
  if (isExtended(value)) return extended(value);
  return Object.fromEntries(
    entriesOf(value).map(([key, inner]) => {
      if (key.startsWith("$")) throw refused(`unknown operator '${key}'`);
      return [plain(key) as string, plain(inner)];
    }),
  );
}

function extended(value: JsonObject): JsonValue {
  const [key = "", inner = null] = Object.entries(value)[0] ?? [];
  if (key === "$date") return { $date: dateMs(inner) };
  const number = Number(typeof inner === "string" || typeof inner === "number" ? inner : Number.NaN);
  if (!Number.isFinite(number)) throw refused(`'${key}' cannot be read`);
  return number;
}

function dateMs(value: JsonValue | undefined): number {
  const inner = isJsonObject(value) ? value["$numberLong"] : value;
  if (typeof inner === "number" && Number.isFinite(inner)) return Math.trunc(inner);
  if (typeof inner === "string") {
    if (/^-?\d+$/.test(inner)) return Number(inner);
    const zoned = /(?:Z|[-+]\d\d:?\d\d)$/i.test(inner) ? inner : `${inner}${inner.includes("T") ? "" : "T00:00:00"}Z`;
    const ms = Date.parse(zoned);
    if (!Number.isNaN(ms)) return ms;
  }
  throw refused(`'$date' cannot be read: '${JSON.stringify(value)}'`);
}
