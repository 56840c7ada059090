/**
 * How each engine reads JSON: the pieces out of which sql.ts builds conditions. A `Val` is one JSON value inside a row, or its absence.
 * Every value that came from outside is a parameter.
 */
import { type RawBuilder, sql } from "kysely";
import type { JsonValue } from "../../common/json.ts";
import type { StoreKind } from "../store/types.ts";
import { canonical } from "./canonical.ts";
import { largestModulo } from "./match.ts";
import type { ValueType } from "./tree.ts";
import { isDate, type StoredDateValue } from "./values.ts";

export type Sql = RawBuilder<unknown>;

export interface Val {
  /** JSON (text or jsonb), or SQL NULL when the value is missing. On SQLite elements that are scalars have no `json`. */
  readonly json: Sql;
  /** The engine's word for its type; NULL when missing. */
  readonly type: Sql;
  /** SQLite only: the scalar as a plain SQL value. */
  readonly atom: Sql;
}

export type Order = "gt" | "gte" | "lt" | "lte";

export interface JsonSql {
  readonly kind: StoreKind;
  /** A column or expression that is always a JSON object. */
  object(expression: Sql): Val;
  child(parent: Val, name: string): Val;
  at(list: Val, index: number): Val;
  /** Joins one row per object to go into: the value itself, or the elements of an array. */
  into(value: Val, alias: string): { readonly join: Sql; readonly item: Val };
  /** Left-joins one row per element when the value is an array, else one row of nothing. */
  elements(value: Val, alias: string): { readonly join: Sql; readonly item: Val };
  /** `FROM` of the elements of an array. */
  from(value: Val, alias: string): { readonly from: Sql; readonly item: Val };
  isType(value: Val, type: ValueType): Sql;
  missing(value: Val): Sql;
  equals(value: Val, wanted: JsonValue): Sql;
  compare(value: Val, order: Order, bound: number | string | boolean | StoredDateValue): Sql;
  hasSize(value: Val, size: number): Sql;
  modulo(value: Val, divisor: number, remainder: number): Sql;
  /** Undefined where the engine has no safe one: the caller narrows instead. */
  regex(value: Val, pattern: string): Sql | undefined;
}

const signs: Readonly<Record<Order, Sql>> = { gt: sql`>`, gte: sql`>=`, lt: sql`<`, lte: sql`<=` };

/** Text of a stored date's only key. */
const dateKey = "$date";

const sqliteTypes: Readonly<Record<ValueType, readonly string[]>> = {
  string: ["text"],
  number: ["integer", "real"],
  bool: ["true", "false"],
  null: ["null"],
  object: ["object"],
  array: ["array"],
  date: ["object"],
};

function list(words: readonly string[]): Sql {
  return sql.join(words.map((word) => sql.lit(word)));
}

function sqliteIs(value: Val, type: ValueType): Sql {
  return sql`${value.type} IN (${list(sqliteTypes[type])})`;
}

function sqliteDate(value: Val): Sql {
  return sql`CASE WHEN ${value.type} = 'object' THEN coalesce(json_type(${value.json}, '$."$date"'), '') IN ('integer', 'real')
    AND (SELECT count(*) FROM json_each(${value.json})) = 1 ELSE 0 END`;
}

function sqliteItem(alias: string): Val {
  const type = sql.ref(`${alias}.type`);
  return {
    json: sql`CASE WHEN ${type} IN ('object', 'array') THEN ${sql.ref(`${alias}.value`)} END`,
    type,
    atom: sql.ref(`${alias}.atom`),
  };
}

function sqlitePath(base: Sql, path: string): Val {
  return { json: sql`(${base} -> ${path})`, type: sql`json_type(${base}, ${path})`, atom: sql`(${base} ->> ${path})` };
}

export const sqliteJson: JsonSql = {
  kind: "sqlite",
  object: (expression) => ({ json: expression, type: sql`'object'`, atom: sql`NULL` }),
  child: (parent, name) =>
    sqlitePath(sql`(CASE WHEN ${parent.type} = 'object' THEN ${parent.json} END)`, `$."${name}"`),
  at: (value, index) => sqlitePath(sql`(CASE WHEN ${value.type} = 'array' THEN ${value.json} END)`, `$[${index}]`),
  into: (value, alias) => ({
    join: sql`LEFT JOIN json_each(CASE ${value.type} WHEN 'array' THEN ${value.json} WHEN 'object'
      THEN json_array(json(${value.json})) END) AS ${sql.ref(alias)} ON 1 = 1`,
    item: sqliteItem(alias),
  }),
  elements: (value, alias) => ({
    join: sql`LEFT JOIN json_each(CASE ${value.type} WHEN 'array' THEN ${value.json} END) AS ${sql.ref(alias)} ON 1 = 1`,
    item: sqliteItem(alias),
  }),
  from: (value, alias) => ({
    from: sql`json_each(CASE ${value.type} WHEN 'array' THEN ${value.json} END) AS ${sql.ref(alias)}`,
    item: sqliteItem(alias),
  }),
  isType(value, type) {
    if (type === "date") return sqliteDate(value);
    if (type === "object") return sql`(${sqliteIs(value, type)} AND NOT ${sqliteDate(value)})`;
    return sqliteIs(value, type);
  },
  missing: (value) => sql`${value.type} IS NULL`,
  equals(value, wanted) {
    if (wanted === null) return sql`(${value.type} IS NULL OR ${value.type} = 'null')`;
    if (typeof wanted === "boolean") return sql`${value.type} = ${sql.lit(wanted ? "true" : "false")}`;
    if (typeof wanted === "string") return sql`(${value.type} = 'text' AND ${value.atom} = ${wanted})`;
    if (typeof wanted === "number") return sql`(${sqliteIs(value, "number")} AND ${value.atom} = ${wanted})`;
    const type = Array.isArray(wanted) ? "array" : "object";
    return sql`CASE WHEN ${value.type} = ${sql.lit(type)} THEN json_canonical(${value.json}) = ${canonical(wanted)} ELSE 0 END`;
  },
  compare(value, order, bound) {
    const sign = signs[order];
    if (typeof bound === "string") return sql`(${value.type} = 'text' AND ${value.atom} ${sign} ${bound})`;
    if (typeof bound === "number") return sql`(${sqliteIs(value, "number")} AND ${value.atom} ${sign} ${bound})`;
    if (typeof bound === "boolean")
      return sql`(${sqliteIs(value, "bool")} AND (${value.type} = 'true') ${sign} ${bound ? 1 : 0})`;
    return sql`(${sqliteDate(value)} AND (CASE WHEN ${value.type} = 'object' THEN ${value.json} ->> '$."$date"' END) ${sign} ${bound.$date})`;
  },
  hasSize: (value, size) =>
    sql`CASE WHEN ${value.type} = 'array' THEN json_array_length(${value.json}) = ${size} ELSE 0 END`,
  modulo: (value, divisor, remainder) =>
    sql`CASE WHEN ${sqliteIs(value, "number")} AND abs(${value.atom}) <= ${largestModulo} THEN CAST(${value.atom} AS INTEGER) % CAST(${divisor} AS INTEGER) = ${remainder} ELSE 0 END`,
  regex: (value, pattern) =>
    sql`CASE WHEN ${value.type} = 'text' THEN regex_test(${pattern}, ${value.atom}) = 1 ELSE 0 END`,
};

const postgresTypes: Readonly<Record<ValueType, string>> = {
  string: "string",
  number: "number",
  bool: "boolean",
  null: "null",
  object: "object",
  array: "array",
  date: "object",
};

function jsonb(expression: Sql): Val {
  return { json: expression, type: sql`jsonb_typeof(${expression})`, atom: sql`NULL` };
}

function postgresDate(value: Val): Sql {
  return sql`CASE WHEN ${value.type} = 'object' THEN coalesce(jsonb_typeof(${value.json} -> ${sql.lit(dateKey)}), '') = 'number'
    AND (${value.json} - ${sql.lit(dateKey)}) = '{}'::jsonb ELSE false END`;
}

function postgresItem(alias: string): Val {
  return jsonb(sql.ref(`${alias}.value`));
}

export const postgresJson: JsonSql = {
  kind: "postgres",
  object: (expression) => ({ json: expression, type: sql`'object'`, atom: sql`NULL` }),
  child: (parent, name) => jsonb(sql`(${parent.json} -> ${name}::text)`),
  at: (value, index) => jsonb(sql`(CASE WHEN ${value.type} = 'array' THEN ${value.json} -> ${index}::int END)`),
  into: (value, alias) => ({
    join: sql`CROSS JOIN LATERAL jsonb_array_elements(CASE ${value.type} WHEN 'array' THEN ${value.json}
      ELSE jsonb_build_array(${value.json}) END) AS ${sql.ref(alias)}(value)`,
    item: postgresItem(alias),
  }),
  elements: (value, alias) => ({
    join: sql`LEFT JOIN LATERAL jsonb_array_elements(CASE WHEN ${value.type} = 'array' THEN ${value.json} END) AS ${sql.ref(alias)}(value) ON true`,
    item: postgresItem(alias),
  }),
  from: (value, alias) => ({
    from: sql`jsonb_array_elements(CASE WHEN ${value.type} = 'array' THEN ${value.json} END) AS ${sql.ref(alias)}(value)`,
    item: postgresItem(alias),
  }),
  isType(value, type) {
    if (type === "date") return postgresDate(value);
    const is = sql`${value.type} = ${sql.lit(postgresTypes[type])}`;
    return type === "object" ? sql`(${is} AND NOT ${postgresDate(value)})` : is;
  },
  missing: (value) => sql`${value.json} IS NULL`,
  equals: (value, wanted) =>
    wanted === null
      ? sql`(${value.json} IS NULL OR ${value.json} = 'null'::jsonb)`
      : sql`${value.json} = ${JSON.stringify(wanted)}::jsonb`,
  compare(value, order, bound) {
    const sign = signs[order];
    if (typeof bound === "string")
      return sql`(${value.type} = 'string' AND (${value.json} #>> '{}') COLLATE "C" ${sign} ${bound}::text)`;
    if (isDate(bound as JsonValue)) {
      const date = bound as StoredDateValue;
      return sql`(${postgresDate(value)} AND (${value.json} -> ${sql.lit(dateKey)}) ${sign} ${JSON.stringify(date.$date)}::jsonb)`;
    }
    const type = typeof bound === "number" ? "number" : "boolean";
    return sql`(${value.type} = ${sql.lit(type)} AND ${value.json} ${sign} ${JSON.stringify(bound)}::jsonb)`;
  },
  hasSize: (value, size) =>
    sql`CASE WHEN ${value.type} = 'array' THEN jsonb_array_length(${value.json}) = ${size}::int ELSE false END`,
  modulo(value, divisor, remainder) {
    const number = sql`(${value.json} #>> '{}')::numeric`;
    return sql`CASE WHEN ${value.type} = 'number' THEN abs(${number}) <= ${largestModulo}::numeric
      AND trunc(${number}) % ${divisor}::numeric = ${remainder}::numeric ELSE false END`;
  },
  regex: () => undefined,
};
