/** Workflows, object types and triggers: read by everybody with a role, edited by administrators. Entries of the hub's file are edited there. */
import type { z } from "zod";
import { isoTime } from "../../common/clock.ts";
import { Fault } from "../../common/fault.ts";
import {
  objectTypeEditSchema,
  objectTypeListSchema,
  objectTypeViewSchema,
  triggerEditSchema,
  triggerListSchema,
  triggerViewSchema,
  workflowEditSchema,
  workflowListSchema,
  workflowViewSchema,
} from "../../wire/user-api.ts";
import type { HubContext } from "../context.ts";
import type { HubDatabase, TriggerRow, WorkflowRow } from "../store/tables.ts";
import type { Tx } from "../store/types.ts";
import { sweepTriggers } from "../triggers/triggers.ts";
import type { Selectable } from "kysely";
import { idParams, type V1App } from "./http.ts";

const viewer = { config: { access: "viewer" } } as const;
const admin = { config: { access: "admin" } } as const;
const tags = ["registries"];
const fromApi = "api";
type Registry = "workflows" | "object_types" | "triggers";

export function registryRoutes(app: V1App, ctx: HubContext): void {
  workflowRoutes(app, ctx);
  objectTypeRoutes(app, ctx);
  triggerRoutes(app, ctx);
  for (const registry of ["workflows", "object_types", "triggers"] as const) {
    app.delete(`/${registry}/:id`, { ...admin, schema: { tags, params: idParams } }, async (request, reply) => {
      const { id } = request.params as z.output<typeof idParams>;
      await ctx.store.transaction((tx) => removeEntry(tx, registry, id));
      await reply.status(204).send();
    });
  }
}

function workflowRoutes(app: V1App, ctx: HubContext): void {
  const { db } = ctx.store;
  app.get("/workflows", { ...viewer, schema: { tags, response: { 200: workflowListSchema } } }, async () => {
    const rows = await db.selectFrom("workflows").selectAll().orderBy("n").execute();
    return { workflows: rows.map((row) => workflowView(row)) };
  });
  app.get(
    "/workflows/:id",
    { ...viewer, schema: { tags, params: idParams, response: { 200: workflowViewSchema } } },
    async (request) => {
      const row = await db.selectFrom("workflows").selectAll().where("id", "=", request.params.id).executeTakeFirst();
      return workflowView(found(row));
    },
  );
  app.put(
    "/workflows/:id",
    { ...admin, schema: { tags, params: idParams, body: workflowEditSchema, response: { 200: workflowViewSchema } } },
    async (request) => {
      const { id } = request.params;
      const { name, description, capability_ids, claims } = request.body;
      const columns = {
        name: name ?? id,
        description: description ?? null,
        capability_ids: JSON.stringify(capability_ids),
        claims_policy: claims,
      };
      return ctx.store.transaction(async (tx) => {
        await assertEditable(tx, "workflows", id);
        const values = { id, ...columns, parameters: null, created_at: ctx.clock.now(), source: fromApi };
        const row = await tx.db
          .insertInto("workflows")
          .values(values)
          .onConflict((conflict) => conflict.column("id").doUpdateSet(columns))
          .returningAll()
          .executeTakeFirstOrThrow();
        await putCapability(tx, row);
        tx.notify("registry", "workflows");
        return workflowView(row);
      });
    },
  );
}

function objectTypeRoutes(app: V1App, ctx: HubContext): void {
  const { db } = ctx.store;
  app.get("/object_types", { ...viewer, schema: { tags, response: { 200: objectTypeListSchema } } }, async () => {
    const rows = await db.selectFrom("object_types").selectAll().orderBy("n").execute();
    return { object_types: rows.map((row) => entryView(row)) };
  });
  app.get(
    "/object_types/:id",
    { ...viewer, schema: { tags, params: idParams, response: { 200: objectTypeViewSchema } } },
    async (request) => {
      const row = await db
        .selectFrom("object_types")
        .selectAll()
        .where("id", "=", request.params.id)
        .executeTakeFirst();
      return entryView(found(row));
    },
  );
  app.put(
    "/object_types/:id",
    {
      ...admin,
      schema: { tags, params: idParams, body: objectTypeEditSchema, response: { 200: objectTypeViewSchema } },
    },
    async (request) => {
      const { id } = request.params;
      const columns = { name: request.body.name ?? id, description: request.body.description ?? null };
      return ctx.store.transaction(async (tx) => {
        await assertEditable(tx, "object_types", id);
        const row = await tx.db
          .insertInto("object_types")
          .values({ id, ...columns, created_at: ctx.clock.now(), source: fromApi })
          .onConflict((conflict) => conflict.column("id").doUpdateSet(columns))
          .returningAll()
          .executeTakeFirstOrThrow();
        tx.notify("registry", "object_types");
        return entryView(row);
      });
    },
  );
}

function triggerRoutes(app: V1App, ctx: HubContext): void {
  const { db } = ctx.store;
  app.get("/triggers", { ...viewer, schema: { tags, response: { 200: triggerListSchema } } }, async () => {
    const rows = await db.selectFrom("triggers").selectAll().orderBy("n").execute();
    return { triggers: rows.map((row) => triggerView(row)) };
  });
  app.get(
    "/triggers/:id",
    { ...viewer, schema: { tags, params: idParams, response: { 200: triggerViewSchema } } },
    async (request) => {
      const row = await db.selectFrom("triggers").selectAll().where("id", "=", request.params.id).executeTakeFirst();
      return triggerView(found(row));
    },
  );
  app.put(
    "/triggers/:id",
    { ...admin, schema: { tags, params: idParams, body: triggerEditSchema, response: { 200: triggerViewSchema } } },
    async (request) => {
      const { id } = request.params;
      const columns = request.body;
      const row = await ctx.store.transaction(async (tx) => {
        await assertEditable(tx, "triggers", id);
        await assertKnown(tx, columns);
        const made = await tx.db
          .insertInto("triggers")
          .values({ id, ...columns, created_at: ctx.clock.now(), source: fromApi })
          .onConflict((conflict) => conflict.column("id").doUpdateSet(columns))
          .returningAll()
          .executeTakeFirstOrThrow();
        tx.notify("registry", "triggers");
        return made;
      });
      await sweepTriggers(ctx);
      return triggerView(row);
    },
  );
}

/** The contract has one capability for each workflow, of the same id. */
async function putCapability(tx: Tx, { id, name, description, created_at }: WorkflowRow): Promise<void> {
  await tx.db
    .insertInto("capabilities")
    .values({ id, name, description, created_at, source: fromApi })
    .onConflict((conflict) => conflict.column("id").doUpdateSet({ name, description }))
    .execute();
}

async function assertEditable(tx: Tx, registry: Registry, id: string): Promise<void> {
  const row = await tx.db.selectFrom(registry).select("source").where("id", "=", id).executeTakeFirst();
  if (!row || row.source === fromApi) return;
  throw new Fault("CONFLICT", `'${id}' comes from the hub's configuration and is edited there`);
}

/** A trigger names things that exist; all problems at once. */
async function assertKnown(tx: Tx, trigger: { object_type_id: string; workflow_id: string }): Promise<void> {
  const { object_type_id, workflow_id } = trigger;
  const type = await tx.db.selectFrom("object_types").select("id").where("id", "=", object_type_id).executeTakeFirst();
  const workflow = await tx.db.selectFrom("workflows").select("id").where("id", "=", workflow_id).executeTakeFirst();
  const problems = [
    ...(type ? [] : [`object_type_id: no object type '${object_type_id}'`]),
    ...(workflow ? [] : [`workflow_id: no workflow '${workflow_id}'`]),
  ];
  if (problems.length > 0) throw new Fault("INVALID", problems.join("; "));
}

async function removeEntry(tx: Tx, registry: Registry, id: string): Promise<void> {
  await assertEditable(tx, registry, id);
  const column = registry === "workflows" ? "workflow_id" : "object_type_id";
  if (registry !== "triggers") {
    const user = await tx.db.selectFrom("triggers").select("id").where(column, "=", id).executeTakeFirst();
    if (user) throw new Fault("CONFLICT", `trigger '${user.id}' uses '${id}'`, { hint: "remove the trigger first" });
  }
  const { numDeletedRows } = await tx.db.deleteFrom(registry).where("id", "=", id).executeTakeFirst();
  if (Number(numDeletedRows) === 0) throw new Fault("NOT_FOUND", "Not found");
  if (registry === "workflows") await tx.db.deleteFrom("capabilities").where("id", "=", id).execute();
  tx.notify("registry", registry);
}

function found<Row>(row: Row | undefined): Row {
  if (row === undefined) throw new Fault("NOT_FOUND", "Not found");
  return row;
}

function entryView(row: Selectable<HubDatabase["object_types"]>): z.output<typeof objectTypeViewSchema> {
  const { id, name, description, created_at, source } = row;
  return { id, name, description, created_at: isoTime(created_at), source };
}

function workflowView(row: WorkflowRow): z.output<typeof workflowViewSchema> {
  return {
    ...entryView(row),
    capability_ids: JSON.parse(row.capability_ids) as string[],
    claims: row.claims_policy === "exclusive" ? "exclusive" : "nmdc",
  };
}

function triggerView(row: TriggerRow): z.output<typeof triggerViewSchema> {
  const { id, object_type_id, workflow_id, created_at, source } = row;
  return { id, object_type_id, workflow_id, created_at: isoTime(created_at), source };
}
