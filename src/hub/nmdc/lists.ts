/** `GET` of a collection: filter, pages with single-use tokens, projection (§0.5 of the contract). */
import { setImmediate as immediate } from "node:timers/promises";
import { type RawBuilder, sql, type SqlBool } from "kysely";
import type { JsonObject } from "../../common/json.ts";
import type { HubContext } from "../context.ts";
import { type Collection, collections } from "../filter/collections.ts";
import { matches } from "../filter/match.ts";
import { matchAll, parseFilter } from "../filter/query.ts";
import { compileQuery } from "../filter/sql.ts";
import type { Query } from "../filter/tree.ts";
import { newId } from "../ids.ts";
import { HttpProblem } from "../problem.ts";
import type { ListQuery } from "./models.ts";
import { type CollectionName, projector, rendered } from "./render.ts";

export interface Page {
  readonly collection: CollectionName;
  readonly resources: readonly JsonObject[];
  readonly nextPageToken: string | undefined;
}

interface Row {
  readonly id: string;
  readonly n: number;
  readonly doc: string;
}

/** Rows per look when documents have to be checked in this process. */
const batchRows = 500;
/** Documents that SQLite reads in one go, some tens of milliseconds. */
const windowRows = 5_000;

/**
 * One page. A page token decides the collection and the place, and is used up even if the request then fails. `ifNoFilter`: the query
 * when the parameter is absent.
 */
export async function listPage(
  ctx: HubContext,
  name: CollectionName,
  query: ListQuery,
  ifNoFilter?: Query,
): Promise<Page> {
  const filter = parseFilter(query.filter) ?? (query.filter === undefined ? ifNoFilter : undefined) ?? matchAll;
  const place = query.page_token ? await takeToken(ctx, query.page_token) : { collection: name, lastId: undefined };
  const project = projector(query.projection) ?? ((document: JsonObject) => document);
  const size = query.max_page_size;
  const rows = await find(ctx, collections[place.collection], filter, place.lastId, size > 0 ? size + 1 : undefined);
  const more = size > 0 && rows.length > size;
  const shown = more ? rows.slice(0, size) : rows.toSorted((a, b) => a.n - b.n);
  const resources = shown.map((row) => rendered(place.collection, project(JSON.parse(row.doc) as JsonObject)));
  const nextPageToken = more ? await makeToken(ctx, place.collection, shown.at(-1)?.id ?? "") : undefined;
  return { collection: place.collection, resources, nextPageToken };
}

/** Rows after `afterId` by id; all of them without `limit`. */
async function find(
  ctx: HubContext,
  collection: Collection,
  query: Query,
  afterId: string | undefined,
  limit: number | undefined,
): Promise<Row[]> {
  const compiled = compileQuery(query, collection, ctx.store.kind);
  if (!compiled.exact) return checked(ctx, collection, query, compiled.where, { afterId, limit });
  if (compiled.columnsOnly || ctx.store.kind === "postgres")
    return select(ctx, collection, compiled.where, { afterId, limit });
  return windowed(ctx, collection, compiled.where, { afterId, limit });
}

interface Range {
  readonly afterId?: string | undefined;
  readonly upToId?: string | undefined;
  readonly limit?: number | undefined;
}

/** The condition only narrows: each document is looked at here. */
async function checked(
  ctx: HubContext,
  collection: Collection,
  query: Query,
  where: Where,
  range: Range,
): Promise<Row[]> {
  const found: Row[] = [];
  for (let after = range.afterId; ;) {
    const rows = await select(ctx, collection, where, { afterId: after, limit: batchRows });
    for (const row of rows) {
      if (matches(query, JSON.parse(row.doc) as JsonObject)) found.push(row);
      if (found.length === range.limit) return found;
    }
    if (rows.length < batchRows) return found;
    after = rows.at(-1)?.id;
  }
}

/** SQLite works in our thread: a condition that reads every document is put to some thousands of them at a time. */
async function windowed(ctx: HubContext, collection: Collection, where: Where, range: Range): Promise<Row[]> {
  const found: Row[] = [];
  for (let after = range.afterId; ;) {
    const upToId = await windowEnd(ctx, collection, after);
    const limit = range.limit === undefined ? undefined : range.limit - found.length;
    found.push(...(await select(ctx, collection, where, { afterId: after, upToId, limit })));
    if (upToId === undefined || found.length === range.limit) return found;
    after = upToId;
    await immediate();
  }
}

async function windowEnd(
  ctx: HubContext,
  collection: Collection,
  after: string | undefined,
): Promise<string | undefined> {
  let query = ctx.store.db.selectFrom(collection.table).select("id").orderBy("id").limit(1).offset(windowRows);
  if (after !== undefined) query = query.where("id", ">", after);
  return (await query.executeTakeFirst())?.id;
}

/**
 * NMDC clients claim what looks unclaimed: jobs that nobody may claim there, that wait for parents or a person, or that ended
 * without a claim (a parent failed) are not shown.
 */
const shownJobs = sql<SqlBool>`jobs.claims_policy = 'nmdc' AND jobs.state <> 'AWAITING_PARENTS'
  AND NOT (jobs.live_claims = 0 AND (jobs.hold IS NOT NULL OR jobs.ended_at IS NOT NULL))`; // as the index jobs_open

type Where = RawBuilder<SqlBool>;

/** With a limit the ids are found first, from indexes alone where they suffice, then the documents. */
function select(ctx: HubContext, collection: Collection, where: Where, range: Range): Promise<Row[]> {
  const table = collection.table;
  let wanted = ctx.store.db.selectFrom(table).select(`${table}.id`).where(where);
  if (table === "jobs") wanted = wanted.where(shownJobs);
  if (range.afterId !== undefined) wanted = wanted.where(`${table}.id`, ">", range.afterId);
  if (range.upToId !== undefined) wanted = wanted.where(`${table}.id`, "<=", range.upToId);
  if (range.limit !== undefined) wanted = wanted.orderBy(`${table}.id`).limit(range.limit);
  return ctx.store.db
    .selectFrom(`${table} as found` as "jobs as found")
    .select(["found.id", "found.n", "found.doc"])
    .where("found.id", "in", wanted)
    .orderBy("found.id")
    .execute();
}

async function makeToken(ctx: HubContext, collection: CollectionName, lastId: string): Promise<string> {
  const id = newId();
  await ctx.store.db
    .insertInto("page_tokens")
    .values({ id, collection, last_id: lastId, created_at: ctx.clock.now() })
    .execute();
  return id;
}

/** Reads and deletes in one statement: of two requests with the same token one gets it. */
async function takeToken(ctx: HubContext, token: string): Promise<{ collection: CollectionName; lastId: string }> {
  const row = await ctx.store.db.deleteFrom("page_tokens").where("id", "=", token).returningAll().executeTakeFirst();
  if (!row) throw new HttpProblem(400, "`page_token` not found", { code: "BAD_PAGE_TOKEN" });
  return { collection: row.collection as CollectionName, lastId: row.last_id };
}
