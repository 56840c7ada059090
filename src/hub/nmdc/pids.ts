/** /pids: minting, resolving, binding and deleting persistent ids (§5.3 of the contract). */
import type { FastifyInstance } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import type { Selectable } from "kysely";
import type { HubContext } from "../context.ts";
import { newPid } from "../ids.ts";
import { HttpProblem, notFound } from "../problem.ts";
import type { PidsTable } from "../store/tables.ts";
import { paramOf } from "./jobs.ts";
import { bindInput, mintInput, pidDeleteInput } from "./models.ts";
import { guards, siteOf } from "./route.ts";

const tags = ["minter"];
const insertRows = 1_000;

export function pidRoutes(base: FastifyInstance, ctx: HubContext): void {
  const app = base.withTypeProvider<ZodTypeProvider>();
  const { site: preValidation } = guards(ctx);
  const { db } = ctx.store;

  app.post("/pids/mint", { schema: { tags, body: mintInput, summary: "Mint ids" }, preValidation }, async (request) => {
    const { schema_class: schemaClass, how_many: count } = request.body;
    const typecode = Object.hasOwn(ctx.config.typecodes, schemaClass.id)
      ? ctx.config.typecodes[schemaClass.id]
      : undefined;
    if (typecode === undefined) throw new HttpProblem(422, `Unknown schema class ${schemaClass.id}`);
    return mint(ctx, schemaClass.id, typecode, count, siteOf(request).siteId);
  });

  app.get("/pids/resolve/:id", { schema: { tags, summary: "Look an id up" }, preValidation }, async (request) => {
    const row = await db.selectFrom("pids").selectAll().where("id", "=", paramOf(request, "id")).executeTakeFirst();
    if (!row) throw notFound();
    return pidView(row);
  });

  app.post(
    "/pids/bind",
    { schema: { tags, body: bindInput, summary: "Keep a record with an id" }, preValidation },
    async (request) => {
      const { id_name: id, metadata_record: record } = request.body;
      const row = await db
        .updateTable("pids")
        .set({ bindings: JSON.stringify(record) })
        .where("id", "=", id)
        .returningAll()
        .executeTakeFirst();
      if (!row) throw notFound(`ID ${id} is unknown`);
      return pidView(row);
    },
  );

  app.post(
    "/pids/delete",
    { schema: { tags, body: pidDeleteInput, summary: "Delete a draft id" }, preValidation },
    async (request, reply) => {
      const { id_name: id } = request.body;
      const row = await db.deleteFrom("pids").where("id", "=", id).returning("id").executeTakeFirst();
      if (!row) throw notFound(`ID ${id} is unknown`);
      return reply.type("application/json").serializer(String).send("null");
    },
  );
}

async function mint(
  ctx: HubContext,
  classId: string,
  typecode: string,
  count: number,
  siteId: string,
): Promise<string[]> {
  const ids: string[] = [];
  while (ids.length < count) {
    const rows = Array.from({ length: Math.min(insertRows, count - ids.length) }, () => ({
      id: newPid(typecode),
      class_id: classId,
      site_id: siteId,
      status: "draft",
      bindings: null,
      created_at: ctx.clock.now(),
    }));
    // An id that exists already is not given out again: another one is made.
    const made = await ctx.store.db
      .insertInto("pids")
      .values(rows)
      .onConflict((conflict) => conflict.column("id").doNothing())
      .returning("id")
      .execute();
    ids.push(...made.map((row) => row.id));
  }
  return ids;
}

function pidView(row: Selectable<PidsTable>) {
  return {
    id: row.id,
    name: row.id,
    typecode: { id: `${row.class_id}_typecode` },
    shoulder: { id: "nmdc:minter_shoulder_11" },
    status: row.status,
    bindings: row.bindings === null ? null : (JSON.parse(row.bindings) as unknown),
  };
}
