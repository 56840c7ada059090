/** Evaluates a query on a stored document, for what a database cannot decide (regular expressions on PostgreSQL). */
import { isJsonObject, type JsonObject, type JsonValue } from "../../common/json.ts";
import { canonical } from "./canonical.ts";
import { isIndex, type Query, type Test, type ValueType } from "./tree.ts";
import { isDate } from "./values.ts";
import { regexTest } from "./regex.ts";

export function matches(query: Query, document: JsonObject): boolean {
  switch (query.op) {
    case "and":
      return query.of.every((part) => matches(part, document));
    case "or":
      return query.of.some((part) => matches(part, document));
    case "not":
      return !matches(query.of, document);
    case "some":
      return query.tests.some((test) => walk(document, query.path, (value) => passes(test, value), spreads(test)));
  }
}

/** True for tests that look at the elements of an array, too. */
export function spreads(test: Test): boolean {
  return !["exists", "size", "elements", "element"].includes(test.op);
}

type Found = (value: JsonValue | undefined) => boolean;

/** True when some value at `path` below an object is `found`; undefined stands for "missing". */
function walk(object: JsonObject, path: readonly string[], found: Found, spread: boolean): boolean {
  const [name = "", ...rest] = path;
  return arrive(Object.hasOwn(object, name) ? object[name] : undefined, rest, found, spread);
}

function arrive(value: JsonValue | undefined, rest: readonly string[], found: Found, spread: boolean): boolean {
  if (rest.length === 0)
    return found(value) || (spread && Array.isArray(value) && value.some((item: JsonValue) => found(item)));
  if (Array.isArray(value)) return through(value, rest, found, spread);
  if (isJsonObject(value)) return walk(value, rest, found, spread);
  return found(undefined);
}

/** Into the objects of an array, and to its n-th element when the path says so. */
function through(list: readonly JsonValue[], rest: readonly string[], found: Found, spread: boolean): boolean {
  if (list.some((item) => isJsonObject(item) && walk(item, rest, found, spread))) return true;
  const [name = "", ...after] = rest;
  if (!isIndex(name)) return false;
  const item = list[Number(name)];
  if (item === undefined) return false;
  if (after.length === 0) return found(item);
  return (Array.isArray(item) || isJsonObject(item)) && arrive(item, after, found, spread);
}

/** Above 2^53 whole numbers are not exact: no `$mod` matches. */
export const largestModulo = Number.MAX_SAFE_INTEGER;

function passes(test: Test, value: JsonValue | undefined): boolean {
  switch (test.op) {
    case "never":
      return false;
    case "exists":
      return value !== undefined;
    case "eq":
      return test.value === null
        ? value === null || value === undefined
        : value !== undefined && same(test.value, value);
    case "gt":
    case "gte":
    case "lt":
    case "lte":
      return value !== undefined && compare(test.op, value, test.value);
    case "regex":
      return typeof value === "string" && regexTest(test.pattern, value);
    case "type":
      return value !== undefined && test.types.includes(typeOf(value));
    case "size":
      return Array.isArray(value) && value.length === test.size;
    case "mod":
      return (
        typeof value === "number" &&
        Math.abs(value) <= largestModulo &&
        Math.trunc(value) % test.divisor === test.remainder
      );
    case "elements":
      return Array.isArray(value) && value.some((item: JsonValue) => isJsonObject(item) && matches(test.query, item));
    case "element":
      return (
        Array.isArray(value) &&
        value.some((item: JsonValue) =>
          test.tests.every((one) => one.not !== one.anyOf.some((inner) => passes(inner, item))),
        )
      );
  }
}

export function typeOf(value: JsonValue): ValueType {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "object") return isDate(value) ? "date" : "object";
  return typeof value === "boolean" ? "bool" : (typeof value as "string" | "number");
}

function same(a: JsonValue, b: JsonValue): boolean {
  return typeof a === "object" || typeof b === "object" ? canonical(a) === canonical(b) : a === b;
}

function compare(op: "gt" | "gte" | "lt" | "lte", value: JsonValue, bound: JsonValue): boolean {
  if (typeOf(value) !== typeOf(bound)) return false;
  const order = orderOf(isDate(value) ? value.$date : value, isDate(bound) ? bound.$date : bound);
  if (op === "gt") return order > 0;
  if (op === "gte") return order >= 0;
  return op === "lt" ? order < 0 : order <= 0;
}

/** Text by code points, as the databases compare it by bytes. */
function orderOf(a: JsonValue, b: JsonValue): number {
  if (typeof a === "string" && typeof b === "string") return Buffer.compare(Buffer.from(a), Buffer.from(b));
  return Number(a) - Number(b);
}
