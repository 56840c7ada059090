/** Lists of jobs: filters, words, order and cursor. Values are always parameters. */
import { type Expression, type ExpressionBuilder, type SqlBool, sql } from "kysely";
import type { z } from "zod";
import { Fault } from "../../common/fault.ts";
import type { jobQuerySchema } from "../../wire/user-api.ts";
import { jobRow } from "../jobs/rows.ts";
import type { HubDatabase, JobRow } from "../store/tables.ts";
import type { Store } from "../store/types.ts";

export type JobQuery = z.output<typeof jobQuerySchema>;

export interface JobPage {
  readonly rows: readonly JobRow[];
  readonly total: number;
  readonly nextCursor: string | null;
}

type Where = ExpressionBuilder<HubDatabase, "jobs">;
type SortColumn = "created_at" | "updated_at" | "name";

/** One page of the jobs that match, and how many match in all. Throws BAD_PAGE_TOKEN, BAD_FILTER. */
export async function queryJobs(store: Store, query: JobQuery): Promise<JobPage> {
  const condition = (where: Where): Expression<SqlBool> => where.and(conditions(where, store, query));
  const column = query.sort.replace(/^-/, "") as SortColumn;
  const descending = query.sort.startsWith("-");
  const key = keyOf(column);
  let page = store.db.selectFrom("jobs").selectAll().where(condition);
  if (query.cursor !== undefined) {
    const { value, n } = parseCursor(query.cursor, query.sort);
    const sign = sql.raw(descending ? "<" : ">");
    page = page.where(sql<SqlBool>`(${key} ${sign} ${value} OR (${key} = ${value} AND jobs.n ${sign} ${n}))`);
  }
  const direction = descending ? "desc" : "asc";
  const rows = await page
    .orderBy(key, direction)
    .orderBy("n", direction)
    .limit(query.limit + 1)
    .execute();
  const counted = await store.db
    .selectFrom("jobs")
    .select((select) => select.fn.countAll<number>().as("total"))
    .where(condition)
    .executeTakeFirst();
  const shown = rows.slice(0, query.limit).map((row) => jobRow(row));
  const last = rows.length > query.limit ? shown.at(-1) : undefined;
  return {
    rows: shown,
    total: Number(counted?.total ?? 0),
    nextCursor: last ? cursorOf(last, column, query.sort) : null,
  };
}

function keyOf(column: SortColumn) {
  if (column === "name") return sql<string>`coalesce(jobs.name, '')`;
  return sql<number>`${sql.ref(`jobs.${column}`)}`;
}

function cursorOf(row: JobRow, column: SortColumn, sort: string): string {
  const value = column === "name" ? (row.name ?? "") : row[column];
  return Buffer.from(JSON.stringify([sort, value, row.n])).toString("base64url");
}

function parseCursor(cursor: string, sort: string): { readonly value: string | number; readonly n: number } {
  const bad = new Fault("BAD_PAGE_TOKEN", `cursor '${cursor}' is not one of this list`, {
    hint: "send the same 'sort' with every page, or start over without a cursor",
  });
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(cursor, "base64url").toString("utf8"));
  } catch {
    throw bad;
  }
  if (!Array.isArray(parsed)) throw bad;
  const [made, value, n] = parsed as unknown[];
  const wanted = sort.endsWith("name") ? "string" : "number";
  if (made !== sort || typeof value !== wanted || typeof n !== "number") throw bad;
  return { value: value as string | number, n };
}

function conditions(where: Where, store: Store, query: JobQuery): Expression<SqlBool>[] {
  const found: Expression<SqlBool>[] = [];
  if (query.status !== undefined) found.push(where("status", "in", [query.status].flat()));
  if (query.active !== undefined) found.push(where("ended_at", query.active ? "is" : "is not", null));
  if (query.workflow !== undefined) found.push(where("workflow_id", "=", query.workflow));
  if (query.site !== undefined) found.push(where("site_id", "=", query.site));
  if (query.owner !== undefined) found.push(where("owner", "=", query.owner));
  if (query.since !== undefined) found.push(where("created_at", ">=", Date.parse(query.since)));
  if (query.before !== undefined) found.push(where("created_at", "<", Date.parse(query.before)));
  for (const tag of query.tag === undefined ? [] : [query.tag].flat()) found.push(hasTag(where, tag));
  for (const word of words(query.search)) found.push(hasWord(where, store, word));
  return found;
}

function hasTag(where: Where, tag: string): Expression<SqlBool> {
  const equals = tag.indexOf("=");
  const key = equals < 0 ? tag : tag.slice(0, equals);
  let rows = where.selectFrom("job_tags").select("job_id").whereRef("job_tags.job_id", "=", "jobs.id");
  rows = rows.where("key", "=", key);
  if (equals >= 0) rows = rows.where("value", "=", tag.slice(equals + 1));
  return where.exists(rows);
}

const wordsAtMost = 16;

function words(search: string | undefined): string[] {
  const found = (search ?? "")
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== "");
  if (found.length <= wordsAtMost) return found;
  throw new Fault("BAD_FILTER", `search: ${found.length} words; allowed: ${wordsAtMost}`);
}

/** Every word must occur somewhere; case does not matter (in ASCII). */
function hasWord(where: Where, store: Store, word: string): Expression<SqlBool> {
  const pattern = `%${word.replace(/[\\%_]/g, (character) => `\\${character}`)}%`;
  const description =
    store.kind === "sqlite"
      ? sql<string>`json_extract(jobs.doc, '$.description')`
      : sql<string>`(jobs.doc::jsonb ->> 'description')`;
  const message =
    store.kind === "sqlite"
      ? sql<string>`json_extract(jobs.failure, '$.message')`
      : sql<string>`(jobs.failure::jsonb ->> 'message')`;
  const texts = [
    sql.ref("jobs.id"),
    sql.ref("jobs.name"),
    sql.ref("jobs.workflow_id"),
    sql.ref("jobs.tags"),
    description,
    message,
  ];
  return where.or(texts.map((text) => sql<SqlBool>`lower(coalesce(${text}, '')) LIKE ${pattern} ESCAPE '\\'`));
}
