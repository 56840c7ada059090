/** Which open jobs a site gets: by priority, fair among the workflows it offers, oldest first. */
import type { Failure } from "../../jobs/states.ts";
import type { JobRow } from "../store/tables.ts";
import { jobColumns, partsOf } from "../jobs/rows.ts";
import { changeJobs, type LifecycleContext } from "../jobs/lifecycle.ts";
import { parseJob } from "../jobs/document.ts";
import { together } from "../store/together.ts";
import type { Tx } from "../store/types.ts";
import { assignable } from "./claims.ts";

const damaged: Failure = {
  code: "UNREADABLE",
  category: "service",
  message: "what the hub's database holds of this job cannot be read",
  hint: "submit it again; if there are more of them, check the database",
};

export interface Offer {
  readonly workflow: string;
  readonly slots: number;
}

/** Open jobs that a site could start, locked, by workflow; each list as `fairOrder` wants it. */
export type Queues = ReadonlyMap<string, readonly JobRow[]>;

/**
 * Up to `limit` jobs of each offered workflow. On PostgreSQL rows that another site is just taking are skipped, not waited for: whoever
 * changed them wakes all waiting sites afterwards.
 */
export async function findJobs(
  ctx: LifecycleContext,
  tx: Tx,
  siteId: string,
  offers: readonly Offer[],
  limit: number,
): Promise<Queues> {
  if (limit <= 0) return new Map();
  const queues = [...slotsByWorkflow(offers)].map(async ([workflow, slots]) => {
    const open = await openJobs(ctx, tx, workflow, siteId, Math.min(slots, limit));
    return [workflow, await ableOf(tx, siteId, open)] as const;
  });
  return new Map((await together(queues)).filter(([, jobs]) => jobs.length > 0));
}

/** Which of them the site gets: what it offers, `limit` at most. Those that others skipped in vain are looked at by them again. */
export function chooseJobs(tx: Tx, queues: Queues, offers: readonly Offer[], limit: number): JobRow[] {
  const slots = slotsByWorkflow(offers);
  const fitting = new Map([...queues].map(([workflow, jobs]) => [workflow, jobs.slice(0, slots.get(workflow) ?? 0)]));
  const chosen = fairOrder(fitting, limit);
  for (const [workflow, jobs] of queues) {
    if (jobs.length > chosen.filter((job) => job.workflow_id === workflow).length) tx.notify("jobs", workflow);
  }
  return chosen;
}

/**
 * Highest priority first; among equals the workflow that got the fewest so far, then the oldest job. Pure. Each queue is sorted
 * already.
 */
export function fairOrder<Job extends Pick<JobRow, "priority" | "n">>(
  queues: ReadonlyMap<string, readonly Job[]>,
  limit: number,
): Job[] {
  const heads = [...queues.values()].map((jobs) => ({ jobs, taken: 0 }));
  const order: Job[] = [];
  while (order.length < limit) {
    let best: { readonly queue: (typeof heads)[number]; readonly job: Job } | undefined;
    for (const queue of heads) {
      const job = queue.jobs[queue.taken];
      if (job && (!best || precedes(job, queue.taken, best.job, best.queue.taken))) best = { queue, job };
    }
    if (!best) break;
    best.queue.taken++;
    order.push(best.job);
  }
  return order;
}

type Ranked = Pick<JobRow, "priority" | "n">;

function precedes(left: Ranked, leftTaken: number, right: Ranked, rightTaken: number): boolean {
  if (left.priority !== right.priority) return left.priority > right.priority;
  if (leftTaken !== rightTaken) return leftTaken < rightTaken;
  return left.n < right.n;
}

function slotsByWorkflow(offers: readonly Offer[]): Map<string, number> {
  const slots = new Map<string, number>();
  for (const offer of offers) slots.set(offer.workflow, (slots.get(offer.workflow) ?? 0) + offer.slots);
  return slots;
}

/** Open jobs whose rows can be read; the others fail here, so that they are in nobody's way. */
async function openJobs(
  ctx: LifecycleContext,
  tx: Tx,
  workflow: string,
  siteId: string,
  limit: number,
): Promise<JobRow[]> {
  const query = tx.db
    .selectFrom("jobs")
    .select(jobColumns)
    .where("workflow_id", "=", workflow)
    .where(assignable(siteId))
    .orderBy("priority", "desc")
    .orderBy("n")
    .limit(limit);
  for (;;) {
    const rows = await (ctx.store.kind === "postgres" ? query.forUpdate().skipLocked() : query).execute();
    const unreadable = rows.filter((row) => partsOf(row) === undefined);
    if (unreadable.length === 0) return rows;
    const change = { state: "FAILED", actor: "hub", failure: damaged } as const;
    await changeJobs(
      ctx,
      tx,
      unreadable.map((job) => ({ job, change })),
    );
  }
}

/** Those whose capabilities the site has; most ask for none. */
async function ableOf(tx: Tx, siteId: string, jobs: readonly JobRow[]): Promise<readonly JobRow[]> {
  const needs = new Map(jobs.map((job) => [job, parseJob(job).workflow.capability_ids ?? []]));
  if ([...needs.values()].every((ids) => ids.length === 0)) return jobs;
  const row = await tx.db.selectFrom("sites").select("doc").where("id", "=", siteId).executeTakeFirst();
  const { capability_ids = [] } = row ? (JSON.parse(row.doc) as { capability_ids?: readonly string[] }) : {};
  return jobs.filter((job) => needs.get(job)?.every((id) => capability_ids.includes(id)));
}
