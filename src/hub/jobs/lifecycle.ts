/**
 * The only place where jobs are made and change state on the hub, for both dialects: keeps the document's claims, the
 * columns that queries use, the rows beside (claims, tags, parents) and the event stream in step, in one transaction.
 */
import type { ParentPolicy } from "../../jobs/parent-policy.ts";
import { decideByParents, defaultParentPolicy } from "../../jobs/parents.ts";
import type { JobState } from "../../jobs/states.ts";
import { assertAllowed } from "../../jobs/transitions.ts";
import type { HubContext } from "../context.ts";
import { appendEvents, type NewEvent } from "../store/events.ts";
import type { JobRow } from "../store/tables.ts";
import type { Queries, StoreKind, Tx, Write } from "../store/types.ts";
import { isOpen, JobChanges, type StateChange } from "./changes.ts";
import type { JobClaim, JobDocument } from "./document.ts";
import { parentFailure, type ParentState } from "./parents.ts";
import {
  claimColumns,
  claimPolicies,
  claimRows,
  idsPerQuery,
  jobColumns,
  type NewJob,
  newRow,
  tagRows,
} from "./rows.ts";

/** The parts of the context that this module uses. */
export type LifecycleContext = Pick<HubContext, "store" | "clock">;

/** Makes jobs, with an event each, in the order given. Parents that have ended count at once. */
export async function createJobs(ctx: LifecycleContext, tx: Tx, jobs: readonly NewJob[]): Promise<JobRow[]> {
  const at = ctx.clock.now();
  const policies = await claimPolicies(tx.db, new Set(jobs.map((job) => job.workflow.id)));
  const made = jobs.map((job) => newRow(job, at, policies.get(job.workflow.id) ?? "nmdc"));
  const numbers = await tx.insert("jobs", made);
  const rows = made.map((row, i): JobRow => ({ ...row, n: numbers[i] ?? 0 }));
  await tx.insert(
    "job_claims",
    rows.flatMap((row, i) => claimRows(row.id, jobs[i]?.claims ?? [])),
  );
  await tx.insert(
    "job_tags",
    rows.flatMap((row, i) => tagRows(row, jobs[i]?.tags ?? {})),
  );
  const links = rows.flatMap((row, i) =>
    [...new Set(jobs[i]?.parents)].map((parent) => ({ job_id: row.id, parent_id: parent })),
  );
  // A parent that ends just now either sees the link, or is seen as ended below.
  await lockParents(ctx, tx, new Set(links.map((link) => link.parent_id)));
  await tx.insert("job_parents", links);
  await appendEvents(
    tx,
    rows.map((row, i) => createdEvent(row, jobs[i]?.actor ?? "hub")),
  );
  for (const workflow of new Set(rows.filter((row) => isOpen(row)).map((row) => row.workflow_id))) {
    tx.notify("jobs", workflow);
  }
  if (links.length === 0) return rows;
  await settleChildren(ctx, tx, [...new Set(links.map((link) => link.job_id))]);
  return readJobs(
    tx.db,
    rows.map((row) => row.id),
  );
}

/** Keeps these jobs as they are until the end of the transaction. SQLite has one writer anyway. */
async function lockParents(ctx: LifecycleContext, tx: Tx, parents: ReadonlySet<string>): Promise<void> {
  if (ctx.store.kind !== "postgres") return;
  const ids = [...parents].toSorted();
  for (let start = 0; start < ids.length; start += idsPerQuery) {
    const slice = ids.slice(start, start + idsPerQuery);
    await tx.db.selectFrom("jobs").select("id").where("id", "in", slice).orderBy("id").forShare().execute();
  }
}

/** The rows of these ids, in this order; unknown ids are left out. */
export async function readJobs(db: Queries, ids: readonly string[]): Promise<JobRow[]> {
  const found = new Map<string, JobRow>();
  for (let start = 0; start < ids.length; start += idsPerQuery) {
    const rows = await db
      .selectFrom("jobs")
      .select(jobColumns)
      .where("id", "in", ids.slice(start, start + idsPerQuery))
      .execute();
    for (const row of rows) found.set(row.id, row);
  }
  return ids.flatMap((id) => found.get(id) ?? []);
}

/** The job, locked until the end of the transaction: everybody who changes it later waits. */
export async function lockJob(tx: Tx, kind: StoreKind, id: string): Promise<JobRow | undefined> {
  const query = tx.db.selectFrom("jobs").select(jobColumns).where("id", "=", id);
  return (kind === "postgres" ? query.forUpdate() : query).executeTakeFirst();
}

/** A locked job and what becomes of it. */
export interface JobToChange {
  readonly job: JobRow;
  readonly change: StateChange;
}

/**
 * Changes a locked job as the table of states allows; children are settled when it ends. Returns the new row.
 * @throws Fault ILLEGAL_TRANSITION
 */
export async function changeJob(ctx: LifecycleContext, tx: Tx, job: JobRow, change: StateChange): Promise<JobRow> {
  const [row = job] = await changeJobs(ctx, tx, [{ job, change }]);
  return row;
}

/**
 * As `changeJob` for several jobs, in few statements; `besides` is written with them.
 * @throws Fault ILLEGAL_TRANSITION
 */
export async function changeJobs(
  ctx: LifecycleContext,
  tx: Tx,
  list: readonly JobToChange[],
  besides: readonly Write[] = [],
): Promise<JobRow[]> {
  for (const { job, change } of list) {
    const from = job.state as JobState;
    if (change.state !== undefined && change.state !== from) assertAllowed(from, change.state);
  }
  return observeJobs(ctx, tx, list, besides);
}

/**
 * As `changeJob` for jobs whose state is only seen from their claims and operations (policy `nmdc`): there nothing is final and steps
 * are missed, so the table is not asked.
 */
export async function observeJob(ctx: LifecycleContext, tx: Tx, job: JobRow, change: StateChange): Promise<JobRow> {
  const [row = job] = await observeJobs(ctx, tx, [{ job, change }]);
  return row;
}

/** As `observeJob` for several jobs, in few statements. A job may come more than once: each change starts where the one before ended. */
export async function observeJobs(
  ctx: LifecycleContext,
  tx: Tx,
  list: readonly JobToChange[],
  besides: readonly Write[] = [],
): Promise<JobRow[]> {
  const changes = new JobChanges(ctx, tx);
  const rows = list.map(({ job, change }) => changes.add(job, change));
  await writeChanges(ctx, tx, changes, besides);
  return rows;
}

/**
 * Writes what was added and what goes with it, and settles the children of jobs that ended. Call it late in the transaction: from then on
 * other writers of events wait.
 */
export async function writeChanges(
  ctx: LifecycleContext,
  tx: Tx,
  changes: JobChanges,
  besides: readonly Write[] = [],
): Promise<void> {
  // Their parents are locked by us: whoever makes a child waits, or its links are seen here (`createJobs`).
  const children = await childrenOf(tx.db, changes.ended);
  await changes.write(besides);
  await settleChildren(ctx, tx, children);
}

/** Writes the job's list of claims: document, counters and rows. `extra` are other changes of the document. */
export async function writeClaims(
  tx: Tx,
  job: JobRow,
  document: JobDocument,
  claims: readonly JobClaim[],
): Promise<{ row: JobRow; document: JobDocument }> {
  const next = { ...document, claims };
  const columns = { doc: JSON.stringify(next), ...claimColumns(claims) };
  await tx.db.updateTable("jobs").set(columns).where("id", "=", job.id).execute();
  await tx.db.deleteFrom("job_claims").where("job_id", "=", job.id).execute();
  await tx.insert("job_claims", claimRows(job.id, claims));
  return { row: { ...job, ...columns }, document: next };
}

/** Of any of these parents, each once. */
export async function childrenOf(db: Queries, parents: readonly string[]): Promise<string[]> {
  const children = new Set<string>();
  for (let start = 0; start < parents.length; start += idsPerQuery) {
    const rows = await db
      .selectFrom("job_parents")
      .select("job_id")
      .where("parent_id", "in", parents.slice(start, start + idsPerQuery))
      .orderBy("job_id")
      .execute();
    for (const row of rows) children.add(row.job_id);
  }
  return [...children];
}

/** Looks at each of these waiting jobs again; one that fails settles its own children in turn. */
export async function settleChildren(ctx: LifecycleContext, tx: Tx, ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    const job = await lockJob(tx, ctx.store.kind, id);
    if (!job || job.state !== "AWAITING_PARENTS") continue;
    const parents = await parentStates(tx.db, job);
    const verdict = decideByParents(
      (job.parent_policy ?? defaultParentPolicy) as ParentPolicy,
      parents.map((parent) => parent.state),
    );
    if (verdict === "ready") await changeJob(ctx, tx, job, { state: "READY", actor: "hub" });
    if (verdict === "fail")
      await changeJob(ctx, tx, job, { state: "FAILED", actor: "hub", failure: parentFailure(parents) });
  }
}

async function parentStates(db: Queries, job: JobRow): Promise<ParentState[]> {
  const rows = await db
    .selectFrom("job_parents")
    .innerJoin("jobs", "jobs.id", "job_parents.parent_id")
    .select(["jobs.id", "jobs.state"])
    .where("job_parents.job_id", "=", job.id)
    .execute();
  return rows.map((row) => ({ id: row.id, state: row.state as JobState }));
}

function createdEvent(row: JobRow, actor: string): NewEvent {
  return {
    type: "job.created",
    at: row.created_at,
    jobId: row.id,
    workflowId: row.workflow_id,
    owner: row.owner ?? null,
    actor,
    data: { state: row.state, status: row.status },
  };
}
