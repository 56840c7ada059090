/**
 * Triggers: an object that has a type for which a trigger stands makes one job of the trigger's workflow. One job per (workflow, object)
 * for ever, whoever looks and how often: assigning the type makes it in the same transaction, a sweep finds what was missed,
 * a unique index refuses a second.
 */
import { sql } from "kysely";
import type { HubContext, TypesAssigned } from "../context.ts";
import { createJobs } from "../jobs/lifecycle.ts";
import { parseJob } from "../jobs/document.ts";
import { appendEvents, lockEvents } from "../store/events.ts";
import type { Queries, Tx } from "../store/types.ts";

/** Jobs made in one transaction of a sweep. */
const sweepSize = 500;

interface Due {
  readonly triggerId: string;
  readonly workflowId: string;
  readonly objectId: string;
}

/** For `HubContext.typesAssigned`: the object's jobs are made together with its types. */
export async function fireTriggers(ctx: HubContext, tx: Tx, change: TypesAssigned): Promise<void> {
  if (change.types.length === 0) return;
  await lockEvents(tx, ctx.store.kind);
  await makeJobs(ctx, tx, await dueJobs(tx.db, sweepSize, change.objectId));
}

/** Makes the jobs that are missing, of all objects; returns how many. Safe to run in several hubs at once. */
export async function sweepTriggers(ctx: HubContext): Promise<number> {
  let made = 0;
  for (;;) {
    if ((await dueJobs(ctx.store.db, sweepSize)).length === 0) return made;
    const some = await ctx.store.transaction(async (tx) => {
      await lockEvents(tx, ctx.store.kind);
      return makeJobs(ctx, tx, await dueJobs(tx.db, sweepSize));
    });
    if (some === 0) return made;
    made += some;
  }
}

/** (workflow, object) pairs without a job, whatever made the job and whatever became of it. Two triggers of one pair count once. */
async function dueJobs(db: Queries, limit: number, objectId?: string): Promise<Due[]> {
  let query = db
    .selectFrom("triggers")
    .innerJoin("object_type_links", "object_type_links.type_id", "triggers.object_type_id")
    .select([
      sql<string>`min(triggers.id)`.as("triggerId"),
      "triggers.workflow_id as workflowId",
      "object_type_links.object_id as objectId",
    ])
    .where((where) =>
      where.not(
        where.exists(
          where
            .selectFrom("jobs")
            .select("jobs.n")
            .whereRef("jobs.workflow_id", "=", "triggers.workflow_id")
            .whereRef("jobs.object_id", "=", "object_type_links.object_id"),
        ),
      ),
    )
    .groupBy(["triggers.workflow_id", "object_type_links.object_id"])
    .orderBy("object_type_links.object_id")
    .orderBy("triggers.workflow_id")
    .limit(limit);
  if (objectId !== undefined) query = query.where("object_type_links.object_id", "=", objectId);
  const due = await query.execute();
  return due.length === 0 ? due : withoutOddOnes(db, due);
}

/** A job whose `config.object_id` is a list counts for every object in it, as in a MongoDB query. */
async function withoutOddOnes(db: Queries, due: readonly Due[]): Promise<Due[]> {
  const odd = await db.selectFrom("jobs").select(["workflow_id", "doc"]).where("odd_object", "=", 1).execute();
  const taken = new Set<string>();
  for (const row of odd) {
    const objects = parseJob(row).config["object_id"];
    if (Array.isArray(objects)) for (const id of objects) taken.add(pair(row.workflow_id, String(id)));
  }
  return due.filter((entry) => !taken.has(pair(entry.workflowId, entry.objectId)));
}

function pair(workflowId: string, objectId: string): string {
  return JSON.stringify([workflowId, objectId]);
}

async function makeJobs(ctx: HubContext, tx: Tx, due: readonly Due[]): Promise<number> {
  if (due.length === 0) return 0;
  const rows = await createJobs(
    ctx,
    tx,
    due.map(({ triggerId, workflowId, objectId }) => ({
      workflow: { id: workflowId },
      config: { object_id: objectId },
      trigger: { id: triggerId, objectId },
      actor: `trigger:${triggerId}`,
    })),
  );
  const events = rows.map((row) => ({
    type: "trigger.fired",
    at: row.created_at,
    jobId: row.id,
    workflowId: row.workflow_id,
    actor: `trigger:${row.trigger_id ?? ""}`,
    data: { trigger: row.trigger_id, object: row.trigger_object_id },
  }));
  await appendEvents(tx, events);
  return rows.length;
}
