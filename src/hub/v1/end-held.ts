/** Ends a held job at the hub, without a report of its holder. */
import type { Failure, JobState } from "../../jobs/states.ts";
import { changeJob, type LifecycleContext } from "../jobs/lifecycle.ts";
import { idsPerQuery } from "../jobs/rows.ts";
import type { JobRow } from "../store/tables.ts";
import type { Tx } from "../store/types.ts";
import { closeOperation } from "./claims.ts";

export interface HeldEnd {
  readonly state: Extract<JobState, "CANCELLED" | "FAILED">;
  readonly reason: string;
  readonly actor: string;
  readonly failure?: Failure;
}

/** The job is locked. Its epoch is raised: whoever held it is fenced, whatever he still writes. */
export async function endHeld(ctx: LifecycleContext, tx: Tx, job: JobRow, end: HeldEnd): Promise<JobRow> {
  const { state, reason, actor, failure } = end;
  const result = {
    code: failure?.code ?? state,
    message: failure?.message ?? reason,
    details: { exit_code: null, signal: null, cause: null },
  };
  if (job.op_id !== null) await closeOperation(tx, job.op_id, result, {});
  await settleOrders(ctx, tx, [job.id]);
  if (job.site_id !== null) tx.notify("orders", job.site_id);
  return await changeJob(ctx, tx, job, {
    state,
    hold: null,
    actor,
    ...(failure === undefined ? {} : { failure }),
    columns: { epoch: job.epoch + 1, lease_expires_at: null, result: JSON.stringify(result) },
    data: { reason },
  });
}

/** A person takes the risk: whether anything of the job still runs at its site is not known. */
export async function giveUp(
  ctx: LifecycleContext,
  tx: Tx,
  job: JobRow,
  who: { readonly reason: string; readonly actor: string },
): Promise<JobRow> {
  const site = job.site_id ?? "?";
  return await endHeld(ctx, tx, job, {
    state: "FAILED",
    ...who,
    failure: {
      code: "ABANDONED",
      category: "site",
      message: `given up by ${who.actor}: ${who.reason}; whether anything of it still runs at site '${site}' is not known`,
      hint: `look at site '${site}' before the job is tried again`,
    },
  });
}

/** The jobs have ended: nothing is to be told of them any more. */
export async function settleOrders(ctx: LifecycleContext, tx: Tx, ended: readonly string[]): Promise<void> {
  for (let start = 0; start < ended.length; start += idsPerQuery) {
    await tx.db
      .updateTable("orders")
      .set({ acknowledged_at: ctx.clock.now(), data: JSON.stringify({ result: "ended" }) })
      .where("job_id", "in", ended.slice(start, start + idsPerQuery))
      .where("acknowledged_at", "is", null)
      .execute();
  }
}
