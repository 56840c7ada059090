/** The filterable tables, and the fields whose truth is also in an indexed column. */
import { type RawBuilder, sql } from "kysely";
import type { StoreKind } from "../store/types.ts";
import { canonical } from "./canonical.ts";
import { parseQuery } from "./query.ts";
import type { Test } from "./tree.ts";
import type { Sql } from "./sql-values.ts";

export interface FastTools {
  readonly kind: StoreKind;
  /** False inside an odd number of negations. */
  readonly positive: boolean;
  /** A regular expression on a text column, or what narrows to it. */
  regex(column: Sql, pattern: string): Sql;
}

export interface Fast {
  readonly where: Sql;
  /** The opposite, where that has a form that an index knows. */
  readonly not?: Sql;
  /** Rows for which the column says nothing; the document decides there. */
  readonly also?: Sql;
}

export interface Collection {
  readonly name: "jobs" | "operations" | "objects" | "sites";
  readonly table: "jobs" | "operations" | "objects" | "sites";
  /** A condition on columns that says the same as "some value at `path` passes some of `tests`", if there is one. */
  fast(path: string, tests: readonly Test[], tools: FastTools): Fast | undefined;
}

const never: Sql = sql`1 = 0`;
const always: Sql = sql`1 = 1`;

function anyOf(parts: readonly Sql[]): Sql {
  return parts.length === 0 ? never : sql.join([...parts], sql` OR ` as RawBuilder<unknown>);
}

/** A field that every document has, with text in it. */
function textColumn(name: string, tests: readonly Test[], tools: FastTools): Fast {
  const column = sql.ref(name);
  const equal = tests.flatMap((test) => (test.op === "eq" && typeof test.value === "string" ? [test.value] : []));
  const parts = tests.flatMap((test) => textTest(column, test, tools));
  if (equal.length > 0) parts.unshift(sql`${column} IN (${sql.join(equal)})`);
  return { where: anyOf(parts) };
}

function textTest(column: Sql, test: Test, tools: FastTools): Sql[] {
  switch (test.op) {
    case "gt":
      return typeof test.value === "string" ? [sql`${column} > ${test.value}`] : [];
    case "gte":
      return typeof test.value === "string" ? [sql`${column} >= ${test.value}`] : [];
    case "lt":
      return typeof test.value === "string" ? [sql`${column} < ${test.value}`] : [];
    case "lte":
      return typeof test.value === "string" ? [sql`${column} <= ${test.value}`] : [];
    case "regex":
      return [tools.regex(column, test.pattern)];
    case "exists":
      return [always];
    case "type":
      return test.types.includes("string") ? [always] : [];
    default:
      return [];
  }
}

/** All tests as texts to be equal to; undefined when one is something else. */
function texts(tests: readonly Test[]): string[] | undefined {
  const values = tests.flatMap((test) => (test.op === "eq" && typeof test.value === "string" ? [test.value] : []));
  return values.length === tests.length ? values : undefined;
}

function idOnly(table: Collection["table"]): Collection {
  return {
    name: table,
    table,
    fast: (path, tests, tools) => (path === "id" ? textColumn(`${table}.id`, tests, tools) : undefined),
  };
}

const notCancelled = canonical(parseQuery({ cancelled: { $ne: true } }));

function claims(tests: readonly Test[]): Fast | undefined {
  const [test] = tests;
  if (tests.length !== 1 || !test) return undefined;
  if (test.op === "size") return { where: sql`coalesce(jobs.claim_count, -1) = ${test.size}` };
  if (test.op === "exists") return { where: sql`jobs.claim_count IS NOT NULL` };
  if (test.op === "elements" && canonical(test.query) === notCancelled)
    return { where: sql`jobs.live_claims > 0`, not: sql`jobs.live_claims = 0` };
  return undefined;
}

function claimColumn(column: "site_id" | "op_id", tests: readonly Test[], tools: FastTools): Fast | undefined {
  const values = texts(tests);
  if (!values) return undefined;
  const one = sql`${sql.ref(`job_claims.${column}`)} IN (${sql.join(values)})`;
  // Few jobs are wanted: start from the claims. Few are not wanted: ask for each job.
  if (tools.positive) return { where: sql`jobs.id IN (SELECT job_claims.job_id FROM job_claims WHERE ${one})` };
  return { where: sql`EXISTS (SELECT 1 FROM job_claims WHERE job_claims.job_id = jobs.id AND ${one})` };
}

function jobField(path: string, tests: readonly Test[], tools: FastTools): Fast | undefined {
  switch (path) {
    case "id":
      return textColumn("jobs.id", tests, tools);
    case "workflow.id":
      return textColumn("jobs.workflow_id", tests, tools);
    case "claims":
      return claims(tests);
    case "claims.site_id":
      return claimColumn("site_id", tests, tools);
    case "claims.op_id":
      return claimColumn("op_id", tests, tools);
    case "config.object_id": {
      const values = texts(tests);
      return (
        values && {
          where: sql`(jobs.object_id IS NOT NULL AND jobs.object_id IN (${sql.join(values)}))`,
          also: sql`jobs.odd_object = 1`,
        }
      );
    }
    default:
      return undefined;
  }
}

function operationField(path: string, tests: readonly Test[], tools: FastTools): Fast | undefined {
  const values = texts(tests);
  switch (path) {
    case "id":
      return textColumn("operations.id", tests, tools);
    case "metadata.job.id":
      return values && { where: sql`(operations.job_id IS NOT NULL AND operations.job_id IN (${sql.join(values)}))` };
    case "metadata.site_id":
      return textColumn("operations.site_id", tests, tools);
    case "done": {
      const [test] = tests;
      if (tests.length !== 1 || test?.op !== "eq" || typeof test.value !== "boolean") return undefined;
      return { where: sql`operations.done = ${test.value ? 1 : 0}` };
    }
    default:
      return undefined;
  }
}

export const collections = {
  jobs: { name: "jobs", table: "jobs", fast: jobField },
  operations: { name: "operations", table: "operations", fast: operationField },
  objects: idOnly("objects"),
  sites: idOnly("sites"),
} as const satisfies Record<string, Collection>;
