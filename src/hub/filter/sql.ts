/**
 * Queries to SQL conditions, the same way for both engines (sql-values.ts has the differences). Every negation stands around an EXISTS
 * or an IS TRUE, so that SQL's NULL never leaks into the logic.
 */
import { type RawBuilder, sql, type SqlBool } from "kysely";
import type { StoreKind } from "../store/types.ts";
import { canonical } from "./canonical.ts";
import type { Collection, Fast } from "./collections.ts";
import { spreads } from "./match.ts";
import { parseQuery } from "./query.ts";
import { isIndex, type Query, type Test } from "./tree.ts";
import { type JsonSql, postgresJson, type Sql, sqliteJson, type Val } from "./sql-values.ts";

export interface Compiled {
  readonly where: RawBuilder<SqlBool>;
  /** False: the condition lets rows through that do not match (never the other way round); check each with `matches`. */
  readonly exact: boolean;
  /** True when only columns are looked at: cheap per row. */
  readonly columnsOnly: boolean;
}

/** Compiles a query on a collection's table. */
export function compileQuery(query: Query, collection: Collection, kind: StoreKind): Compiled {
  const json = kind === "sqlite" ? sqliteJson : postgresJson;
  const compiler = new Compiler(json, collection);
  const root = json.object(sql.ref(`${collection.table}.${kind === "sqlite" ? "doc" : "q"}`));
  const where = compiler.query(query, root, true, true) as RawBuilder<SqlBool>;
  return { where, exact: compiler.exact, columnsOnly: compiler.columnsOnly };
}

/** "No claims", which the next one includes. The production agent asks for either. */
const noClaims = canonical(parseQuery({ claims: { $size: 0 } }));
const allCancelled = canonical(parseQuery({ claims: { $not: { $elemMatch: { cancelled: { $ne: true } } } } }));

/** Shorter texts are in most documents anyway. */
const shortestNeedle = 3;

class Compiler {
  exact = true;
  columnsOnly = true;
  readonly #json: JsonSql;
  readonly #collection: Collection;
  #aliases = 0;

  constructor(json: JsonSql, collection: Collection) {
    this.#json = json;
    this.#collection = collection;
  }

  /** `positive`: not inside an odd number of negations. `top`: `root` is the whole document, so columns stand for fields. */
  query(query: Query, root: Val, positive: boolean, top: boolean): Sql {
    switch (query.op) {
      case "and":
        return this.#joined(query.of, sql` AND `, sql`(1 = 1)`, root, positive, top);
      case "or":
        return this.#joined(withoutIncluded(query.of), sql` OR `, sql`(1 = 0)`, root, positive, top);
      case "not":
        return this.#negated(query.of, root, positive, top);
      case "some":
        return this.#some(query.path, query.tests, root, positive, top);
    }
  }

  #negated(query: Query, root: Val, positive: boolean, top: boolean): Sql {
    const fast = top && query.op === "some" ? this.#fast(query.path, query.tests, !positive) : undefined;
    return fast?.not ?? sql`NOT ${this.query(query, root, !positive, top)}`;
  }

  #fast(path: readonly string[], tests: readonly Test[], positive: boolean): Fast | undefined {
    const regex = (column: Sql, pattern: string): Sql => this.#columnRegex(column, pattern, positive);
    return this.#collection.fast(path.join("."), tests, { regex, kind: this.#json.kind, positive });
  }

  #joined(parts: readonly Query[], word: Sql, none: Sql, root: Val, positive: boolean, top: boolean): Sql {
    if (parts.length === 0) return none;
    return sql`(${sql.join(
      parts.map((part) => this.query(part, root, positive, top)),
      word as RawBuilder<unknown>,
    )})`;
  }

  #some(path: readonly string[], tests: readonly Test[], root: Val, positive: boolean, top: boolean): Sql {
    if (!top) return this.#walk(path, tests, root, positive);
    const fast = this.#fast(path, tests, positive);
    if (!fast) return this.#sought(tests, this.#walk(path, tests, root, positive));
    if (!fast.also) return sql`(${fast.where})`;
    return sql`(${fast.where} OR (${fast.also} AND ${this.#walk(path, tests, root, positive)}))`;
  }

  /** Texts that are sought stand in the document's text as JSON writes them: a search for them is faster than reading the JSON. */
  #sought(tests: readonly Test[], condition: Sql): Sql {
    this.columnsOnly = false;
    const texts = tests.map((test) => (test.op === "eq" && typeof test.value === "string" ? test.value : ""));
    if (texts.some((text) => text.length < shortestNeedle)) return condition;
    const text = sql.ref(`${this.#collection.table}.doc`);
    const find = sql.raw(this.#json.kind === "sqlite" ? "instr" : "strpos");
    const found = texts.map((one) => sql`${find}(${text}, ${JSON.stringify(one)}) > 0`);
    return sql`((${sql.join(found, sql` OR `)}) AND ${condition})`;
  }

  #columnRegex(column: Sql, pattern: string, positive: boolean): Sql {
    if (this.#json.kind === "sqlite") return sql`regex_test(${pattern}, ${column}) = 1`;
    this.exact = false;
    return positive ? sql`1 = 1` : sql`1 = 0`;
  }

  #walk(path: readonly string[], tests: readonly Test[], root: Val, positive: boolean): Sql {
    const ways = readings(path).map((steps) => this.#way(steps, tests, root, positive));
    return ways.length === 1 && ways[0] ? ways[0] : sql`(${sql.join(ways, sql` OR `)})`;
  }

  /** One reading of a path: EXISTS (a value there that passes). */
  #way(steps: readonly Step[], tests: readonly Test[], root: Val, positive: boolean): Sql {
    const json = this.#json;
    const joins: Sql[] = [];
    const conditions: Sql[] = [];
    let value = root;
    let last: Step | undefined;
    for (const step of steps) {
      if (typeof step === "number") {
        conditions.push(json.isType(value, "array"));
        value = json.at(value, step);
        conditions.push(sql`NOT ${sql`(${json.missing(value)})`}`);
      } else if (last === undefined) {
        value = json.child(value, step);
      } else {
        if (typeof last === "number") conditions.push(sql`${value.type} IN ('array', 'object')`);
        const { join, item } = json.into(value, this.#alias());
        joins.push(join);
        conditions.push(sql`(${value.type} IS DISTINCT FROM 'array' OR ${item.type} = 'object')`);
        value = json.child(item, step);
      }
      last = step;
    }
    conditions.push(this.#arrived(value, tests, typeof last === "number", joins, positive));
    return sql`EXISTS (SELECT 1 FROM (SELECT 1) AS ${sql.ref(this.#alias())} ${sql.join(joins, sql` `)} WHERE ${sql.join(conditions, sql` AND `)})`;
  }

  /** The value itself passes, or, where the path ends at an array that may be looked into, an element does. */
  #arrived(value: Val, tests: readonly Test[], atPosition: boolean, joins: Sql[], positive: boolean): Sql {
    const any = tests.map((test) => this.#test(test, value, positive));
    const spreading = atPosition ? [] : tests.filter((test) => spreads(test));
    if (spreading.length > 0) {
      const { join, item } = this.#json.elements(value, this.#alias());
      joins.push(join);
      const inner = spreading.map((test) => this.#test(test, item, positive));
      any.push(sql`(NOT (${this.#json.missing(item)}) AND (${sql.join(inner, sql` OR `)}))`);
    }
    return sql`(${sql.join(any, sql` OR `)})`;
  }

  #test(test: Test, value: Val, positive: boolean): Sql {
    const json = this.#json;
    switch (test.op) {
      case "never":
        return sql`1 = 0`;
      case "exists":
        return sql`NOT (${json.missing(value)})`;
      case "eq":
        return json.equals(value, test.value);
      case "gt":
      case "gte":
      case "lt":
      case "lte":
        return json.compare(value, test.op, test.value);
      case "type":
        return sql`(${sql.join(
          test.types.map((type) => json.isType(value, type)),
          sql` OR `,
        )})`;
      case "size":
        return json.hasSize(value, test.size);
      case "mod":
        return json.modulo(value, test.divisor, test.remainder);
      case "regex":
        return json.regex(value, test.pattern) ?? this.#narrow(value, positive);
      case "elements":
      case "element":
        return this.#elemMatch(test, value, positive);
    }
  }

  /** No safe regular expressions here: any text may match; inside a negation none surely does. */
  #narrow(value: Val, positive: boolean): Sql {
    this.exact = false;
    return positive ? this.#json.isType(value, "string") : sql`1 = 0`;
  }

  #elemMatch(test: Test & { op: "elements" | "element" }, value: Val, positive: boolean): Sql {
    const { from, item } = this.#json.from(value, this.#alias());
    const condition =
      test.op === "elements"
        ? sql`${item.type} = 'object' AND ${this.query(test.query, item, positive, false)}`
        : sql.join(
            test.tests.map(({ not, anyOf }) => {
              const inner = sql.join(
                anyOf.map((one) => this.#test(one, item, positive !== not)),
                sql` OR `,
              );
              return sql`(${inner}) ${not ? sql`IS NOT TRUE` : sql`IS TRUE`}`;
            }),
            sql` AND `,
          );
    return sql`EXISTS (SELECT 1 FROM ${from} WHERE ${condition})`;
  }

  #alias(): string {
    return `v${++this.#aliases}`;
  }
}

/** A field name, or a position in an array. */
type Step = string | number;

/** `claims.0.site_id`: the field "0" of the entries, or the entry at position 0. */
function readings(path: readonly string[]): Step[][] {
  let ways: Step[][] = [[]];
  for (const [index, part] of path.entries()) {
    const more = index > 0 && isIndex(part) ? ways.map((way) => [...way, Number(part)]) : [];
    ways = [...ways.map((way) => [...way, part]), ...more];
  }
  return ways;
}

function withoutIncluded(parts: readonly Query[]): readonly Query[] {
  if (!parts.some((part) => canonical(part) === allCancelled)) return parts;
  return parts.filter((part) => canonical(part) !== noClaims);
}
