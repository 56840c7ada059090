/** The tree of a query: what query.ts parses, sql.ts compiles and match.ts evaluates. */
import type { JsonValue } from "../../common/json.ts";
import type { StoredDateValue } from "./values.ts";

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

export const valueTypes = ["string", "number", "bool", "null", "object", "array", "date"] as const;
export type ValueType = (typeof valueTypes)[number];

export type Query =
  | { readonly op: "and" | "or"; readonly of: readonly Query[] }
  | { readonly op: "not"; readonly of: Query }
  /** Some value at the path passes some of the tests. */
  | { readonly op: "some"; readonly path: readonly string[]; readonly tests: readonly Test[] };

/** True for a part of a path that may be a position in an array. */
export function isIndex(part: string): boolean {
  return /^(?:0|[1-9]\d{0,8})$/.test(part);
}
