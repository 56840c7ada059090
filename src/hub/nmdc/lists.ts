/** `GET` of a collection: filter, pages with single-use tokens, projection (§0.5 of the contract). */
import { type RawBuilder, sql, type SqlBool } from "kysely";
import type { JsonObject } from "../../common/json.ts";
import type { HubContext } from "../context.ts";
import { type Collection, collections } from "../filter/collections.ts";
import { matches } from "../filter/match.ts";
import { matchAll, parseFilter, type Query } from "../filter/query.ts";
import { compileQuery } from "../filter/sql.ts";
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
  const { where, exact } = compileQuery(query, collection, ctx.store.kind);
  if (exact) return select(ctx, collection, where, afterId, limit);
  const found: Row[] = [];
  for (let after = afterId; ;) {
    const rows = await select(ctx, collection, where, after, batchRows);
    for (const row of rows) {
      if (matches(query, JSON.parse(row.doc) as JsonObject)) found.push(row);
      if (found.length === limit) return found;
    }
    if (rows.length < batchRows) return found;
    after = rows.at(-1)?.id;
  }
}

/**
 * NMDC clients claim what looks unclaimed: jobs that nobody may claim there, that wait for parents or a person, or that ended
 * without a claim (a parent failed) are not shown.
 */
const shownJobs = sql<SqlBool>`jobs.claims_policy = 'nmdc' AND jobs.state <> 'AWAITING_PARENTS'
  AND NOT (jobs.live_claims = 0 AND (jobs.hold IS NOT NULL OR jobs.ended_at IS NOT NULL))`;

function select(
  ctx: HubContext,
  collection: Collection,
  where: RawBuilder<SqlBool>,
  afterId: string | undefined,
  limit: number | undefined,
): Promise<Row[]> {
  const table = collection.table;
  let query = ctx.store.db.selectFrom(table).select(["id", "n", "doc"]).where(where).orderBy("id");
  if (table === "jobs") query = query.where(shownJobs);
  if (afterId !== undefined) query = query.where("id", ">", afterId);
  if (limit !== undefined) query = query.limit(limit);
  return query.execute();
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
