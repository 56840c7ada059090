/** What people want of a job that a site holds: told at each synchronize until the site's agent acknowledged it. */
import { isoTime } from "../../common/clock.ts";
import type { Order } from "../../wire/agent-api.ts";
import type { JobState } from "../../jobs/states.ts";
import { isFinal } from "../../jobs/transitions.ts";
import { newId } from "../ids.ts";
import { type LifecycleContext, lockJob } from "../jobs/lifecycle.ts";
import type { JobRow, OrderRow } from "../store/tables.ts";
import type { Queries, Tx } from "../store/types.ts";
import { orderEvent, unclaimJob } from "./claims.ts";
import { endHeld } from "./end-held.ts";
import type { SyncBody } from "./session.ts";

const ordersPerAnswer = 1000;

/** Leaves an order for the holder of a locked job, unless the same one is already on its way. */
export async function placeOrder(
  ctx: LifecycleContext,
  tx: Tx,
  job: JobRow,
  order: { readonly kind: string; readonly reason: string; readonly actor: string },
): Promise<void> {
  if (job.site_id === null) return;
  const open = await tx.db
    .selectFrom("orders")
    .select("kind")
    .where("job_id", "=", job.id)
    .where("acknowledged_at", "is", null)
    .orderBy("n", "desc")
    .limit(1)
    .executeTakeFirst();
  if (open?.kind === order.kind) return;
  const id = newId();
  await tx.db
    .insertInto("orders")
    .values({
      id,
      job_id: job.id,
      site_id: job.site_id,
      kind: order.kind,
      epoch: job.epoch,
      reason: order.reason,
      actor: order.actor,
      data: null,
      created_at: ctx.clock.now(),
      delivered_at: null,
      acknowledged_at: null,
    })
    .execute();
  await orderEvent(ctx, tx, job, { ...order, id, result: "requested" });
  tx.notify("orders", job.site_id);
}

/** The open orders of a site, oldest first. */
export async function openOrders(db: Queries, siteId: string): Promise<OrderRow[]> {
  return db
    .selectFrom("orders")
    .selectAll()
    .where("site_id", "=", siteId)
    .where("acknowledged_at", "is", null)
    .orderBy("n")
    .limit(ordersPerAnswer)
    .execute();
}

export function orderView(row: OrderRow): Order {
  return {
    id: row.id,
    kind: row.kind,
    job: row.job_id ?? "",
    reason: row.reason ?? "",
    actor: row.actor ?? "hub",
    at: isoTime(row.created_at),
  };
}

/**
 * Takes what the agent says about orders. A cancel order ends the job here when nothing of it was ever started (handed out, never
 * confirmed, not held), or when the agent says that nothing of it is left (docs/adr/0010).
 */
export async function acknowledgeOrders(
  ctx: LifecycleContext,
  tx: Tx,
  siteId: string,
  acknowledged: SyncBody["orders"],
): Promise<void> {
  for (const { id, result } of acknowledged) {
    const order = await tx.db
      .selectFrom("orders")
      .selectAll()
      .where("id", "=", id)
      .where("site_id", "=", siteId)
      .where("acknowledged_at", "is", null)
      .executeTakeFirst();
    if (!order) continue;
    await tx.db
      .updateTable("orders")
      .set({ acknowledged_at: ctx.clock.now(), data: JSON.stringify({ result }) })
      .where("id", "=", id)
      .execute();
    await afterAcknowledge(ctx, tx, order, result);
  }
}

async function afterAcknowledge(ctx: LifecycleContext, tx: Tx, order: OrderRow, result: string): Promise<void> {
  const job = order.job_id === null ? undefined : await lockJob(tx, ctx.store.kind, order.job_id);
  if (!job) return;
  const { kind, id } = order;
  await orderEvent(ctx, tx, job, { kind, id, actor: `site:${order.site_id}`, reason: order.reason ?? "", result });
  const stillThere = job.site_id === order.site_id && job.epoch === order.epoch && !isFinal(job.state as JobState);
  if (kind !== "cancel" || !stillThere) return;
  const actor = order.actor ?? "hub";
  if (job.bound === 0 && (result === "not-held" || result === "done")) {
    await unclaimJob(ctx, tx, job, { code: "CANCELLED", reason: "never confirmed by the site", actor });
  } else if (result === "done") {
    // Its journal did not know the job any more; what was left of it has been ended, with proof.
    await endHeld(ctx, tx, job, { state: "CANCELLED", reason: order.reason ?? "cancelled", actor });
  }
}
