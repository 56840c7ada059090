/** Workflows, capabilities, object types and triggers, read-only on these paths (§4.3 of the contract), and their rows at start. */
import type { FastifyInstance } from "fastify";
import type { HubConfig } from "../config.ts";
import type { HubContext } from "../context.ts";
import { notFound } from "../problem.ts";
import type { TriggerRow, WorkflowRow } from "../store/tables.ts";
import type { Queries, Store } from "../store/types.ts";
import { paramOf } from "./jobs.ts";
import { guards } from "./route.ts";
import { naive } from "./times.ts";

interface NamedRow {
  readonly id: string;
  readonly name: string;
  readonly description: string | null;
  readonly created_at: number;
}

export function registryView(row: NamedRow) {
  return { name: row.name, description: row.description, id: row.id, created_at: naive(row.created_at) };
}

function workflowView(row: WorkflowRow) {
  const { name, description, id, created_at } = registryView(row);
  return { name, description, capability_ids: JSON.parse(row.capability_ids) as string[], id, created_at };
}

function triggerView(row: TriggerRow) {
  return {
    object_type_id: row.object_type_id,
    workflow_id: row.workflow_id,
    id: row.id,
    created_at: naive(row.created_at),
  };
}

const tags = ["registries"];

export function registryRoutes(app: FastifyInstance, ctx: HubContext): void {
  const { reader: preValidation } = guards(ctx);
  const { db } = ctx.store;
  function get(url: string, summary: string, answer: (id: string) => Promise<unknown>): void {
    app.get(url, { schema: { tags, summary }, preValidation }, async (request) => answer(paramOf(request, "id")));
  }

  for (const table of ["object_types", "capabilities"] as const) {
    const words = table.replace("_", " ");
    get(`/${table}`, `List ${words}`, async () =>
      (await db.selectFrom(table).selectAll().orderBy("n").execute()).map((row) => registryView(row)),
    );
    get(`/${table}/:id`, `One of the ${words}`, async (id) =>
      registryView((await db.selectFrom(table).selectAll().where("id", "=", id).executeTakeFirst()) ?? missing()),
    );
  }
  get("/workflows", "List workflows", async () =>
    (await db.selectFrom("workflows").selectAll().orderBy("n").execute()).map((row) => workflowView(row)),
  );
  get("/workflows/:id", "A workflow", async (id) => workflowView(await workflowOf(db, id)));
  get("/workflows/:id/capabilities", "Capabilities that a workflow needs", async (id) => {
    const ids = JSON.parse((await workflowOf(db, id)).capability_ids) as string[];
    if (ids.length === 0) return [];
    return (await db.selectFrom("capabilities").selectAll().where("id", "in", ids).orderBy("n").execute()).map((row) =>
      registryView(row),
    );
  });
  get("/workflows/:id/object_types", "Object types that trigger a workflow", async (id) => {
    const types = db.selectFrom("triggers").select("object_type_id").where("workflow_id", "=", id);
    return (await db.selectFrom("object_types").selectAll().where("id", "in", types).orderBy("n").execute()).map(
      (row) => registryView(row),
    );
  });
  get("/object_types/:id/workflows", "Workflows that an object type triggers", async (id) => {
    const workflows = db.selectFrom("triggers").select("workflow_id").where("object_type_id", "=", id);
    return (await db.selectFrom("workflows").selectAll().where("id", "in", workflows).orderBy("n").execute()).map(
      (row) => workflowView(row),
    );
  });
  get("/triggers", "List triggers", async () =>
    (await db.selectFrom("triggers").selectAll().orderBy("n").execute()).map((row) => triggerView(row)),
  );
  get("/triggers/:id", "A trigger", async (id) =>
    triggerView((await db.selectFrom("triggers").selectAll().where("id", "=", id).executeTakeFirst()) ?? missing()),
  );
}

async function workflowOf(db: Queries, id: string): Promise<WorkflowRow> {
  return (await db.selectFrom("workflows").selectAll().where("id", "=", id).executeTakeFirst()) ?? missing();
}

function missing(): never {
  throw notFound();
}

/** Writes the configured registries; what came from the configuration before and is gone now is removed, `api` rows stay. */
export async function writeRegistries(store: Store, config: HubConfig): Promise<void> {
  const named = (one: { id: string; name?: string | undefined; description: string | null; created_at: string }) => ({
    id: one.id,
    name: one.name ?? one.id,
    description: one.description,
    created_at: Date.parse(one.created_at),
    source: "config",
  });
  await store.transaction(async (tx) => {
    await replace(
      tx.db,
      "object_types",
      config.object_types.map((one) => named(one)),
    );
    await replace(
      tx.db,
      "capabilities",
      config.workflows.map((one) => named(one)),
    );
    await replace(
      tx.db,
      "workflows",
      config.workflows.map((one) => ({
        ...named(one),
        capability_ids: JSON.stringify(one.capability_ids),
        claims_policy: one.claims,
      })),
    );
    const triggers = config.triggers.map((one) => ({
      id: `${one.object_type}--${one.workflow}`,
      object_type_id: one.object_type,
      workflow_id: one.workflow,
      created_at: Date.parse(one.created_at),
      source: "config",
    }));
    await replace(tx.db, "triggers", triggers);
  });
}

type RegistryTable = "object_types" | "capabilities" | "workflows" | "triggers";

async function replace(db: Queries, table: RegistryTable, rows: readonly { readonly id: string }[]): Promise<void> {
  const ids = rows.map((row) => row.id);
  const gone = db.deleteFrom(table).where("source", "=", "config");
  await (ids.length === 0 ? gone : gone.where("id", "not in", ids)).execute();
  for (const row of rows) {
    const { id: _id, ...columns } = row;
    await db
      .insertInto(table)
      .values(row as never)
      .onConflict((conflict) => conflict.column("id").doUpdateSet(columns as never))
      .execute();
  }
}
