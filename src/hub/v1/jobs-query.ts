/** Lists of jobs: filters, words, order and cursor. Values are always parameters. */
import { type RawBuilder, sql, type SqlBool } from "kysely";
import type { z } from "zod";
import { Fault } from "../../common/fault.ts";
import { isFinalStatus, type Status, statuses } from "../../jobs/status.ts";
import type { jobQuerySchema } from "../../wire/user-api.ts";
import { jobColumns } from "../jobs/rows.ts";
import type { JobRow } from "../store/tables.ts";
import type { Store } from "../store/types.ts";

export type JobQuery = z.output<typeof jobQuerySchema>;

export interface JobPage {
  readonly rows: readonly JobRow[];
  /** How many match; not counted beyond `countedAtMost`. */
  readonly total: number;
  /** There are more than `total`. */
  readonly capped: boolean;
  readonly nextCursor: string | null;
}

/** Lists say "more than a thousand" instead of counting a million at every look. */
export const countedAtMost = 1_000;

type SortColumn = "created_at" | "updated_at" | "name";
type Condition = RawBuilder<SqlBool>;

/** Rows to choose from, in an order that an index has. */
interface Source {
  readonly from: RawBuilder<unknown>;
  /** Where rows that nobody wants to see are counted: without the jobs themselves when only the tag is asked for. */
  readonly counted: RawBuilder<unknown>;
  readonly where: Condition;
  /** What the list is sorted by: the column, then the number. */
  readonly key: readonly [RawBuilder<unknown>, RawBuilder<unknown>];
}

/** One page of the jobs that match, and how many match in all. Throws BAD_PAGE_TOKEN, BAD_FILTER. */
export async function queryJobs(store: Store, query: JobQuery): Promise<JobPage> {
  const column = query.sort.replace(/^-/, "") as SortColumn;
  const place = query.cursor === undefined ? undefined : parseCursor(query.cursor, query.sort);
  const sources = sourcesOf(store, query, column);
  const found = sources.length === 0 ? [] : await pageOf(store, sources, query, place);
  const rows = found.slice(0, query.limit);
  const last = found.length > query.limit ? rows.at(-1) : undefined;
  const all = place === undefined && last === undefined ? rows.length : await countUpTo(store, sources);
  return {
    rows,
    total: Math.min(all, countedAtMost),
    capped: all > countedAtMost,
    nextCursor: last ? cursorOf(last, column, query.sort) : null,
  };
}

const shown = sql.join(jobColumns.map((column) => sql.ref(`jobs.${column}`)));

/** The first rows of each source, in one statement. */
async function pageOf(
  store: Store,
  sources: readonly Source[],
  query: JobQuery,
  place: Place | undefined,
): Promise<JobRow[]> {
  const descending = query.sort.startsWith("-");
  const sign = sql.raw(descending ? "<" : ">");
  const direction = sql.raw(descending ? "DESC" : "ASC");
  const pages = sources.map(({ from, where, key: [column, n] }) => {
    const after = place === undefined ? sql`` : sql` AND (${column}, ${n}) ${sign} (${place.value}, ${place.n})`;
    return sql`SELECT * FROM (SELECT ${shown} FROM ${from} WHERE ${where}${after}
      ORDER BY ${column} ${direction}, ${n} ${direction} LIMIT ${query.limit + 1}) AS page`;
  });
  const [single, ...more] = pages;
  if (single && more.length === 0) return [...(await sql<JobRow>`${single}`.execute(store.db)).rows];
  const key = query.sort.endsWith("name") ? sql`coalesce(name, '')` : sql.ref(query.sort.replace(/^-/, ""));
  const merged = sql<JobRow>`SELECT * FROM (${sql.join(pages, sql` UNION ALL `)}) AS pages
    ORDER BY ${key} ${direction}, n ${direction} LIMIT ${query.limit + 1}`;
  return [...(await merged.execute(store.db)).rows];
}

/** How many there are, or some more than are counted. In the order of the list, so that the same index serves. */
async function countUpTo(store: Store, sources: readonly Source[]): Promise<number> {
  const parts = sources.map(({ counted, where, key: [column, n] }) => {
    return sql`SELECT * FROM (SELECT ${n} AS n FROM ${counted} WHERE ${where} ORDER BY ${column}, ${n}
      LIMIT ${countedAtMost + 1}) AS part`;
  });
  const all = sql.join(parts, sql` UNION ALL `);
  const answer = await sql<{ total: number }>`SELECT count(*) AS total FROM (${all}) AS matching`.execute(store.db);
  return Number(answer.rows[0]?.total ?? 0);
}

/**
 * One source for each status that is asked for: each is a range of an index, the pages are merged. Where a tag is asked for, its
 * rows lead to the jobs.
 */
function sourcesOf(store: Store, query: JobQuery, column: SortColumn): readonly Source[] {
  const tag = column === "created_at" ? tagsOf(query).find((one) => one.includes("=")) : undefined;
  const asked = statusesOf(query, tag !== undefined);
  const common = conditions(store, query, tag);
  const ofStatus = (status: Status | undefined): Source => {
    if (tag !== undefined && status !== undefined) return taggedSource(store, tag, status, common);
    const wanted = status === undefined ? [] : [sql<SqlBool>`jobs.status = ${status}`];
    const where = allOf([...wanted, ...common]);
    return { from: sql`jobs`, counted: sql`jobs`, where, key: [keyOf(column), sql`jobs.n`] };
  };
  return asked === undefined ? [ofStatus(undefined)] : asked.map((status) => ofStatus(status));
}

function taggedSource(store: Store, tag: string, status: Status, conditions: readonly Condition[]): Source {
  const [key, value] = splitTag(tag);
  // In this order: SQLite would weigh the two without knowing how many rows there are.
  const join = sql.raw(store.kind === "sqlite" ? "CROSS JOIN" : "JOIN");
  const wanted = sql<SqlBool>`tagged.key = ${key} AND tagged.value = ${value} AND tagged.status = ${status}`;
  const from = sql`job_tags AS tagged ${join} jobs ON jobs.id = tagged.job_id`;
  return {
    from,
    counted: conditions.length === 0 ? sql`job_tags AS tagged` : from,
    where: allOf([wanted, ...conditions]),
    key: [sql`tagged.created_at`, sql`tagged.n`],
  };
}

/** The statuses that are asked for, each once, with a tag always; undefined: all, or only those that `active` tells (an index knows them). */
function statusesOf(query: JobQuery, tagged: boolean): readonly Status[] | undefined {
  if (query.status === undefined && !tagged) return undefined;
  const asked = query.status === undefined ? statuses : [...new Set([query.status].flat())];
  return asked.filter((status) => query.active === undefined || isFinalStatus(status) !== query.active);
}

function keyOf(column: SortColumn): RawBuilder<unknown> {
  return column === "name" ? sql`coalesce(jobs.name, '')` : sql.ref(`jobs.${column}`);
}

interface Place {
  readonly value: string | number;
  readonly n: number;
}

function cursorOf(row: JobRow, column: SortColumn, sort: string): string {
  const value = column === "name" ? (row.name ?? "") : row[column];
  return Buffer.from(JSON.stringify([sort, value, row.n])).toString("base64url");
}

function parseCursor(cursor: string, sort: string): Place {
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

function conditions(store: Store, query: JobQuery, leading: string | undefined): Condition[] {
  const found: Condition[] = [];
  // With statuses `active` has chosen among them.
  if (query.status === undefined && leading === undefined && query.active !== undefined) {
    found.push(query.active ? sql`jobs.ended_at IS NULL` : sql`jobs.ended_at IS NOT NULL`);
  }
  if (query.workflow !== undefined) found.push(sql`jobs.workflow_id = ${query.workflow}`);
  if (query.site !== undefined) found.push(sql`jobs.site_id = ${query.site}`);
  if (query.owner !== undefined) found.push(sql`jobs.owner = ${query.owner}`);
  if (query.since !== undefined) found.push(sql`jobs.created_at >= ${Date.parse(query.since)}`);
  if (query.before !== undefined) found.push(sql`jobs.created_at < ${Date.parse(query.before)}`);
  for (const tag of tagsOf(query)) if (tag !== leading) found.push(hasTag(tag));
  for (const word of words(query.search)) found.push(hasWord(store, word));
  return found;
}

function allOf(parts: readonly Condition[]): Condition {
  return parts.length === 0 ? sql<SqlBool>`1 = 1` : sql<SqlBool>`${sql.join([...parts], sql` AND `)}`;
}

function tagsOf(query: JobQuery): readonly string[] {
  return query.tag === undefined ? [] : [...new Set([query.tag].flat())];
}

/** `key` (then without value) or `key=value`. */
function splitTag(tag: string): readonly [string, string | undefined] {
  const equals = tag.indexOf("=");
  return equals < 0 ? [tag, undefined] : [tag.slice(0, equals), tag.slice(equals + 1)];
}

function hasTag(tag: string): Condition {
  const [key, value] = splitTag(tag);
  const wanted = value === undefined ? sql`` : sql` AND value = ${value}`;
  return sql<SqlBool>`EXISTS (SELECT 1 FROM job_tags WHERE job_tags.job_id = jobs.id AND key = ${key}${wanted})`;
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
function hasWord(store: Store, word: string): Condition {
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
  const found = texts.map((text) => sql<SqlBool>`lower(coalesce(${text}, '')) LIKE ${pattern} ESCAPE '\\'`);
  return sql<SqlBool>`(${sql.join(found, sql` OR `)})`;
}
