import type { CallContext } from "../../common/context.ts";
import { mapInSlices } from "../../common/slices.ts";
import type { ScheduledJob, ScheduledStatus } from "../types.ts";
import type { Asks } from "./asks.ts";
import { earliest, Rows } from "./identity.ts";
import { isJobId } from "./ids.ts";
import type { AccountingRow } from "./sacct.ts";
import { atLeast, tellsCodesAsTheyAre } from "./show-config.ts";
import type { QueueRow } from "./squeue.ts";
import { meaningOf } from "./states.ts";
import { accountingStatus, queueStatus, wholeStatus } from "./status.ts";

/** One query of the queue, and of accounting for those that the queue does not have or says have ended. All of one cluster. */
export async function statusesOf(
  asks: Asks,
  cluster: string | undefined,
  jobs: readonly ScheduledJob[],
  context: CallContext,
): Promise<readonly ScheduledStatus[]> {
  const learned = await asks.known(context);
  if (learned.state === "unknown") return jobs.map(() => learned);
  const queue = await asks.queue(cluster, context);
  if (queue.state === "unknown") return jobs.map(() => queue);
  const listed = await Rows.of(queue.rows);
  const inQueue = await mapInSlices(jobs, (job) => listed.of(job));
  // Accounting knows of an end what the queue does not: who cancelled it, its steps. What is under way it is not asked for.
  const over = jobs.filter((_, index) => inQueue[index]?.every(hasEnded));
  const since = earliest(
    over.map(({ submittedAt }) => submittedAt),
    context,
  );
  const ids = over.map(({ id }) => id).filter(isJobId);
  const history = await asks.history("ids", ids, (some) => ({ cluster, since, by: { ids: some } }), context);
  const recorded = await Rows.of(history.rows);
  const exact = atLeast(learned.facts.version, ...tellsCodesAsTheyAre);
  const statuses = await mapInSlices(jobs, (job, index): ScheduledStatus => {
    if (!isJobId(job.id)) return { state: "unknown", why: `'${job.id}' is no job id of Slurm` };
    const why = queue.incomplete ?? history.unknown.get(job.id);
    const rest = listed.ofArray(job);
    return merged(inQueue[index] ?? [], recorded.of(job), { why, exact, rest });
  });
  return await elsewhere(asks, jobs, statuses, context);
}

/**
 * What is not known here although another cluster took it, by the name that it had then: the cluster was renamed, or the commands lead to
 * another one. Accounting keeps what it knows under the old name; other than that nothing is known.
 */
async function elsewhere(
  asks: Asks,
  jobs: readonly ScheduledJob[],
  statuses: readonly ScheduledStatus[],
  context: CallContext,
): Promise<readonly ScheduledStatus[]> {
  const missing = jobs.filter(({ origin }, index) => origin !== undefined && statuses[index]?.state === "absent");
  if (missing.length === 0) return statuses;
  const name = await asks.clusterNow(context);
  const told = new Map<ScheduledJob, ScheduledStatus>();
  for (const [origin, strays] of Map.groupBy(missing, (job) => job.origin)) {
    if (origin === name) continue;
    const ids = strays.map(({ id }) => id);
    const since = earliest(
      strays.map(({ submittedAt }) => submittedAt),
      context,
    );
    const history = await asks.history("ids", ids, (some) => ({ cluster: origin, since, by: { ids: some } }), context);
    const rows = await Rows.of(history.rows);
    const now = name === undefined ? "is not known" : `is '${name}'`;
    for (const job of strays) {
      const ends = rows.of(job).map((row) => accountingStatus(row, { exact: false, exit: undefined }));
      const known = ends.length > 0 && ends.every((status) => status !== undefined) ? wholeStatus(ends) : undefined;
      const why = `cluster '${origin}' took it, and the one that answers ${now}: that this one does not have it proves nothing`;
      told.set(job, known ?? { state: "unknown", why });
    }
  }
  return statuses.map((status, index) => told.get(jobs[index] as ScheduledJob) ?? status);
}

interface Limits {
  /** Why what is not in the rows may exist nevertheless. */
  readonly why: string | undefined;
  /** Accounting's exit codes are what they seem. */
  readonly exact: boolean;
  /** What the queue has of the tasks of its array that never began. */
  readonly rest: QueueRow | undefined;
}

function merged(rows: readonly QueueRow[], records: readonly AccountingRow[], limits: Limits): ScheduledStatus {
  const inQueue = rows.map(queueStatus);
  if (!rows.every(hasEnded)) return wholeStatus(inQueue);
  const ends = records.map((record) => {
    const row = rows.find(({ task }) => task === record.task);
    return accountingStatus(record, { exact: limits.exact, exit: row?.exit });
  });
  if (ends.length > 0 && ends.every((status) => status !== undefined)) return wholeStatus(ends);
  if (rows.length > 0) return wholeStatus(inQueue);
  const rest = limits.rest && queueStatus(limits.rest);
  if (rest?.state === "ended") return { state: "ended", verdict: { ...rest.verdict, neverBegan: true } };
  if (limits.why !== undefined) return { state: "unknown", why: limits.why };
  const open = records.find((record) => !hasEnded(record));
  if (open === undefined) return { state: "absent" };
  return { state: "unknown", why: `accounting says ${open.state}, and the queue does not have it` };
}

function hasEnded({ state }: { readonly state: string }): boolean {
  return meaningOf(state).as === "ended";
}
