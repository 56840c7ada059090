/**
 * MongoDB `find` queries: from the text of `filter` to a small tree that sql.ts compiles and match.ts evaluates. Which operators
 * exist, and what is refused, is decided here and nowhere else.
 */
import { Fault } from "../../common/fault.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../../common/json.ts";
import { complaintText } from "./python-json.ts";
import { alternatives, comparison, equals, isRegex, modulo, regex, typeTest } from "./tests.ts";
import { isIndex, type Query, type Test } from "./tree.ts";
import { entriesOf, isExtended, refused } from "./values.ts";

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

function not(of: Query): Query {
  return { op: "not", of };
}

function some(path: readonly string[], tests: readonly Test[]): Query {
  return { op: "some", path, tests };
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

/** True for `{"$gt": …}`; false for plain values, also for extended JSON such as `{"$date": …}` and for a regex object. */
function isOperators(value: JsonValue): value is JsonObject {
  if (!isJsonObject(value) || isExtended(value)) return false;
  const keys = Object.keys(value);
  const operators = keys.filter((key) => key.startsWith("$")).length;
  if (operators > 0 && operators < keys.length)
    throw refused("operators and plain fields cannot be mixed in one object");
  return operators > 0;
}
