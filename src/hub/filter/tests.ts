/** Tests of a single value: the operators that look at what a path leads to. */
import { isJsonObject, type JsonObject, type JsonValue } from "../../common/json.ts";
import { packRegex } from "./regex.ts";
import { type Test, type ValueType, valueTypes } from "./tree.ts";
import { isDate, plain, refused } from "./values.ts";

export function isRegex(value: JsonValue): value is JsonObject {
  if (!isJsonObject(value)) return false;
  const keys = Object.keys(value);
  if (keys.length === 1 && keys[0] === "$regularExpression") return true;
  return typeof value["$regex"] === "string" && keys.every((key) => key === "$regex" || key === "$options");
}

export function equals(value: JsonValue): Test {
  if (isRegex(value)) {
    const inner = value["$regularExpression"];
    if (isJsonObject(inner)) return regex(inner["pattern"] ?? null, inner["options"]);
    return regex(value["$regex"] ?? null, value["$options"]);
  }
  return { op: "eq", value: plain(value) };
}

export function alternatives(key: string, value: JsonValue): Test[] {
  if (!Array.isArray(value)) throw refused(`'${key}' must be a list`);
  return value.length === 0 ? [{ op: "never" }] : value.map((item: JsonValue) => equals(item));
}

export function comparison(op: "gt" | "gte" | "lt" | "lte", value: JsonValue): Test {
  const bound = plain(value);
  if (bound === null) return op === "gte" || op === "lte" ? { op: "eq", value: null } : { op: "never" };
  if (typeof bound === "string" || typeof bound === "number" || typeof bound === "boolean") return { op, value: bound };
  if (isDate(bound)) return { op, value: bound };
  throw refused(`'$${op}' compares text, numbers, booleans and dates only`);
}

export function regex(source: JsonValue, options: JsonValue | undefined): Test {
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

export function typeTest(value: JsonValue): Test {
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

export function modulo(value: JsonValue): Test {
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
