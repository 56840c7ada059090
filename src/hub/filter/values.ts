/** Values of a query: extended JSON (`{"$date": …}`) to the values as documents store them. */
import { Fault } from "../../common/fault.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../../common/json.ts";

export interface StoredDateValue extends JsonObject {
  readonly $date: number;
}

/** A filter that cannot be used, in words. */
export function refused(message: string): Fault {
  return new Fault("BAD_FILTER", message);
}

/** Entries without the `undefined` that the type allows. */
export function entriesOf(object: JsonObject): [string, JsonValue][] {
  return Object.entries(object).map(([key, value]) => [key, value ?? null]);
}

const extendedKeys = ["$date", "$numberLong", "$numberInt", "$numberDouble", "$regularExpression"];

/** True for a value in extended JSON. */
export function isExtended(value: JsonObject): boolean {
  const keys = Object.keys(value);
  return keys.length === 1 && extendedKeys.includes(keys[0] ?? "");
}

export function isDate(value: JsonValue | undefined): value is JsonObject & StoredDateValue {
  return isJsonObject(value) && typeof value["$date"] === "number" && Object.keys(value).length === 1;
}

/** Extended JSON to stored values, deep. Throws `BAD_FILTER`. */
export function plain(value: JsonValue): JsonValue {
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
