/** /objects, their types and DRS (§4 of the contract). */
import { failpoint } from "../../common/failpoint.ts";
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import type { JsonObject, JsonValue } from "../../common/json.ts";
import { actorOf } from "../auth/guard.ts";
import type { HubContext } from "../context.ts";
import { newPlainId } from "../ids.ts";
import { HttpProblem, notFound, unauthenticated } from "../problem.ts";
import { isUniqueViolation } from "../store/errors.ts";
import type { ObjectRow } from "../store/tables.ts";
import type { Queries, Tx } from "../store/types.ts";
import { listPage } from "./lists.ts";
import { listQuery, objectId, type ObjectInput, objectInput, objectTypesInput } from "./models.ts";
import { foreignToken } from "./operations.ts";
import { registryView } from "./registries.ts";
import { filledObject, rendered } from "./render.ts";
import { guards, siteOf, softCaller } from "./route.ts";

const tags = ["objects"];
const params = z.object({ object_id: objectId });
const accessParams = z.object({ object_id: objectId, access_id: z.string() });

export function objectRoutes(base: FastifyInstance, ctx: HubContext): void {
  const app = base.withTypeProvider<ZodTypeProvider>();
  const guard = guards(ctx);

  app.get(
    "/objects",
    { schema: { tags, querystring: listQuery, summary: "List objects" }, preValidation: guard.reader },
    async (request) => {
      const page = await listPage(ctx, "objects", request.query);
      if (page.collection !== "objects") throw foreignToken(page.collection);
      return { resources: page.resources, next_page_token: page.nextPageToken ?? null };
    },
  );

  app.post(
    "/objects",
    { schema: { tags, body: objectInput, summary: "Make an object" }, preValidation: guard.site },
    async (request, reply) => reply.code(201).send(await makeObject(ctx, request.body, siteOf(request).siteId)),
  );

  app.get(
    "/objects/:object_id",
    { schema: { tags, params, summary: "Read an object" }, preValidation: guard.reader },
    async (request) => publicView(await objectOf(ctx.store.db, request.params.object_id)),
  );

  app.patch(
    "/objects/:object_id",
    { schema: { tags, params, body: objectInput, summary: "Change an object" }, preValidation: guard.site },
    async (request) => patchObject(ctx, request.params.object_id, request.body, siteOf(request).siteId),
  );

  app.get(
    "/objects/:object_id/types",
    { schema: { tags, params, summary: "Types of an object" }, preValidation: guard.reader },
    async (request) => {
      const document = JSON.parse((await objectOf(ctx.store.db, request.params.object_id)).doc) as JsonObject;
      const types = (document["types"] as readonly string[] | undefined) ?? [];
      if (types.length === 0) return [];
      const rows = await ctx.store.db
        .selectFrom("object_types")
        .selectAll()
        .where("id", "in", types)
        .orderBy("n")
        .execute();
      return rows.map((row) => registryView(row));
    },
  );

  app.put(
    "/objects/:object_id/types",
    {
      schema: { tags, params, body: objectTypesInput, summary: "Replace the types of an object; may spawn jobs" },
      preValidation: typesGuard(ctx),
    },
    async (request) => {
      const actor = actorOf(request.identity);
      return replaceTypes(ctx, request.params.object_id, request.body, actor);
    },
  );

  app.get(
    "/objects/:object_id/access/:access_id",
    {
      schema: { tags, params: accessParams, summary: "Where the bytes of an object are" },
      preValidation: guard.reader,
    },
    async (request) => {
      const { object_id: id, access_id: access } = request.params;
      const document = JSON.parse((await objectOf(ctx.store.db, id)).doc) as JsonObject;
      const methods = (document["access_methods"] as readonly JsonObject[] | null | undefined) ?? [];
      if (!methods.some((method) => method["access_id"] === access))
        throw notFound("access_id not referenced by object");
      if (access.startsWith("gfs0")) throw notFound("access_id for object not found by gfs0 handler");
      throw notFound("no site found to handle access_id for object");
    },
  );

  app.get(
    "/ga4gh/drs/v1/objects/:object_id",
    { schema: { tags, params, summary: "DRS: leads to /objects" } },
    async (request, reply) =>
      reply.code(303).header("location", `${ctx.baseUrl()}/objects/${request.params.object_id}`).send(""),
  );
}

/** Anybody where `compat.anonymous_types` says so, else any token. */
function typesGuard(ctx: HubContext) {
  const guard = guards(ctx);
  return async function check(this: FastifyInstance, request: FastifyRequest): Promise<void> {
    request.identity = await softCaller(ctx, request);
    if (request.identity || ctx.config.compat.anonymous_types) return;
    await guard.anyone.call(this, request, undefined as never);
    throw unauthenticated("Access token is invalid or missing. Please log in again.");
  };
}

async function objectOf(db: Queries, id: string): Promise<ObjectRow> {
  const row = await db.selectFrom("objects").selectAll().where("id", "=", id).executeTakeFirst();
  if (!row) throw notFound();
  return row;
}

function publicView(row: ObjectRow): JsonObject {
  const { types: _types, _mgr_site: _site, ...shown } = rendered("objects", JSON.parse(row.doc) as JsonObject);
  return shown;
}

/** The fields that were sent, times as stored. */
function storedFields(input: ObjectInput): JsonObject {
  const { created_time: created, updated_time: updated, ...rest } = input;
  return {
    ...(rest as unknown as JsonObject),
    created_time: { $date: created.at },
    ...(updated === undefined ? {} : { updated_time: updated === null ? null : { $date: updated.at } }),
  };
}

/** As the reply that creates shows the times: with the zone that was sent. */
function shownTimes(input: ObjectInput): JsonObject {
  return { created_time: input.created_time.text, updated_time: input.updated_time?.text ?? null };
}

async function makeObject(ctx: HubContext, input: ObjectInput, siteId: string): Promise<JsonObject> {
  const id = newPlainId();
  const fields = storedFields(input);
  const selfUri = `drs://${new URL(ctx.baseUrl()).host}/${id}`;
  const document = { ...fields, id, self_uri: selfUri, _mgr_site: siteId };
  try {
    await ctx.store.transaction(async (tx) => {
      const row = { id, doc: JSON.stringify(document), mgr_site: siteId, created_at: ctx.clock.now() };
      await tx.db.insertInto("objects").values(row).execute();
      await insertChecksums(tx, id, input);
    });
  } catch (error) {
    if (!isUniqueViolation(error)) throw error;
    throw await checksumConflict(ctx.store.db, input, undefined);
  }
  return { ...filledObject({ ...fields, id, self_uri: selfUri }), ...shownTimes(input) };
}

async function insertChecksums(tx: Tx, id: string, input: ObjectInput): Promise<void> {
  const rows = input.checksums.map(({ type, checksum }) => ({ type, checksum, object_id: id }));
  const distinct = [...new Map(rows.map((row) => [JSON.stringify(row), row])).values()];
  await tx.db.insertInto("object_checksums").values(distinct).execute();
}

async function checksumConflict(db: Queries, input: ObjectInput, own: string | undefined): Promise<HttpProblem> {
  for (const { type, checksum } of input.checksums) {
    const row = await db
      .selectFrom("object_checksums")
      .select("object_id")
      .where("type", "=", type)
      .where("checksum", "=", checksum)
      .executeTakeFirst();
    if (row && row.object_id !== own) {
      return new HttpProblem(
        409,
        `provided checksum matches existing object: {'checksums.type': ${pythonText(type)}, 'checksums.checksum': ${pythonText(checksum)}}`,
      );
    }
  }
  return new HttpProblem(409, "provided checksum matches existing object");
}

/** As Python prints a text. */
function pythonText(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text.replaceAll("\\", "\\\\").replaceAll("\n", String.raw`\n`);
  return quote + (quote === "'" ? escaped.replaceAll("'", String.raw`\'`) : escaped) + quote;
}

async function patchObject(ctx: HubContext, id: string, input: ObjectInput, siteId: string): Promise<JsonObject> {
  let document: JsonObject = {};
  try {
    await ctx.store.transaction(async (tx) => {
      const row = await lockObject(ctx, tx, id);
      if (row.mgr_site !== siteId)
        throw new HttpProblem(403, `client authorized for different site_id than ${row.mgr_site}`);
      document = { ...(JSON.parse(row.doc) as JsonObject), ...storedFields(input) };
      await tx.db
        .updateTable("objects")
        .set({ doc: JSON.stringify(document) })
        .where("id", "=", id)
        .execute();
      await tx.db.deleteFrom("object_checksums").where("object_id", "=", id).execute();
      await insertChecksums(tx, id, input);
    });
  } catch (error) {
    if (!isUniqueViolation(error)) throw error;
    throw await checksumConflict(ctx.store.db, input, id);
  }
  const { types: _types, _mgr_site: _site, ...shown } = rendered("objects", document);
  return { ...filledObject(shown), ...shownTimes(input) };
}

async function lockObject(ctx: HubContext, tx: Tx, id: string): Promise<ObjectRow> {
  const query = tx.db.selectFrom("objects").selectAll().where("id", "=", id);
  const row = await (ctx.store.kind === "postgres" ? query.forUpdate() : query).executeTakeFirst();
  if (!row) throw notFound();
  return row;
}

async function replaceTypes(ctx: HubContext, id: string, types: readonly string[], actor: string): Promise<JsonObject> {
  const answer = await ctx.store.transaction(async (tx) => {
    await refuseUnknownTypes(tx, types);
    const row = await lockObject(ctx, tx, id);
    const document: JsonObject = { ...(JSON.parse(row.doc) as JsonObject), types: types as readonly JsonValue[] };
    await tx.db
      .updateTable("objects")
      .set({ doc: JSON.stringify(document) })
      .where("id", "=", id)
      .execute();
    await tx.db.deleteFrom("object_type_links").where("object_id", "=", id).execute();
    const links = [...new Set(types)].map((type) => ({ object_id: id, type_id: type }));
    if (links.length > 0) await tx.db.insertInto("object_type_links").values(links).execute();
    for (const assigned of ctx.typesAssigned) {
      await assigned(tx, { objectId: id, types: [...new Set(types)], at: ctx.clock.now(), actor });
    }
    await failpoint("hub.before-trigger");
    const { _mgr_site: _site, ...shown } = rendered("objects", document);
    return filledObject(shown);
  });
  await failpoint("hub.after-trigger");
  return answer;
}

async function refuseUnknownTypes(tx: Tx, types: readonly string[]): Promise<void> {
  if (types.length === 0) return;
  const known = await tx.db.selectFrom("object_types").select("id").where("id", "in", types).execute();
  const unknown = [...new Set(types)].filter((type) => !known.some((row) => row.id === type));
  if (unknown.length === 0) return;
  throw new HttpProblem(400, `unknown type ids: {${unknown.map((type) => pythonText(type)).join(", ")}}.`);
}
