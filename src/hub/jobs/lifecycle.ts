/**
 * The only place where jobs are made and change state on the hub, for both dialects: keeps the document's claims, the
 * columns that queries use, the rows beside (claims, tags, parents) and the event stream in step, in one transaction.
 */
import type { JsonObject } from "../../common/json.ts";
import type { ParentPolicy } from "../../jobs/parent-policy.ts";
import { decideByParents, defaultParentPolicy } from "../../jobs/parents.ts";
import type { Failure, Hold, JobState, Phase } from "../../jobs/states.ts";
import { statusOf } from "../../jobs/status.ts";
import { assertAllowed, isFinal } from "../../jobs/transitions.ts";
import type { HubContext } from "../context.ts";
import { appendEvents, type NewEvent } from "../store/events.ts";
import type { JobChange, JobRow, NewJobRow } from "../store/tables.ts";
import type { Queries, StoreKind, Tx } from "../store/types.ts";
import type { JobClaim, JobDocument } from "./document.ts";
import { parentFailure, type ParentState } from "./parents.ts";
import { claimColumns, claimPolicies, claimRows, insertAll, insertRows, jobRow, type NewJob, newRow } from "./rows.ts";

/** The parts of the context that this module uses. */
export type LifecycleContext = Pick<HubContext, "store" | "clock">;

/** Makes jobs, with an event each, in the order given. Parents that have ended count at once. */
export async function createJobs(ctx: LifecycleContext, tx: Tx, jobs: readonly NewJob[]): Promise<JobRow[]> {
  const at = ctx.clock.now();
  const policies = await claimPolicies(tx.db, new Set(jobs.map((job) => job.workflow.id)));
  const rows = jobs.map((job) => newRow(job, at, policies.get(job.workflow.id) ?? "nmdc"));
  await insertAll(tx, "jobs", rows);
  await insertAll(
    tx,
    "job_claims",
    rows.flatMap((row, index) => claimRows(row.id, jobs[index]?.claims ?? [])),
  );
  await insertAll(
    tx,
    "job_tags",
    rows.flatMap((row, i) =>
      Object.entries(jobs[i]?.tags ?? {}).map(([key, value]) => ({ job_id: row.id, key, value })),
    ),
  );
  const links = rows.flatMap((row, i) =>
    [...new Set(jobs[i]?.parents)].map((parent) => ({ job_id: row.id, parent_id: parent })),
  );
  await insertAll(tx, "job_parents", links);
  await appendEvents(
    tx,
    ctx.store.kind,
    rows.map((row, i) => createdEvent(row, jobs[i]?.actor ?? "hub")),
  );
  if (links.length > 0) await settleChildren(ctx, tx, [...new Set(links.map((link) => link.job_id))]);
  for (const workflow of new Set(rows.filter((row) => isOpen(row)).map((row) => row.workflow_id))) {
    tx.notify("jobs", workflow);
  }
  return readJobs(
    tx.db,
    rows.map((row) => row.id),
  );
}

/** The rows of these ids, in this order; unknown ids are left out. */
export async function readJobs(db: Queries, ids: readonly string[]): Promise<JobRow[]> {
  const found = new Map<string, JobRow>();
  for (let start = 0; start < ids.length; start += insertRows) {
    const rows = await db
      .selectFrom("jobs")
      .selectAll()
      .where("id", "in", ids.slice(start, start + insertRows))
      .execute();
    for (const row of rows) found.set(row.id, jobRow(row));
  }
  return ids.flatMap((id) => found.get(id) ?? []);
}

/** The job, locked until the end of the transaction: everybody who changes it later waits. */
export async function lockJob(tx: Tx, kind: StoreKind, id: string): Promise<JobRow | undefined> {
  const query = tx.db.selectFrom("jobs").selectAll().where("id", "=", id);
  const row = await (kind === "postgres" ? query.forUpdate() : query).executeTakeFirst();
  return row && jobRow(row);
}

export interface StateChange {
  readonly state?: JobState;
  readonly phase?: Phase;
  /** null ends a hold. */
  readonly hold?: Hold | null;
  readonly failure?: Failure | null;
  /** Other columns to set with it (site_id, epoch, lease_expires_at, attempt …). */
  readonly columns?: JobChange;
  readonly actor: string;
  /** Added to the event's data. */
  readonly data?: JsonObject;
  /** When it happened, if earlier than now (a report that was late). */
  readonly at?: number;
}

/**
 * Changes a locked job as the table of states allows; children are settled when it ends. Returns the new row.
 * @throws Fault ILLEGAL_TRANSITION
 */
export async function changeJob(ctx: LifecycleContext, tx: Tx, job: JobRow, change: StateChange): Promise<JobRow> {
  const from = job.state as JobState;
  if (change.state !== undefined && change.state !== from) assertAllowed(from, change.state);
  return applyChange(ctx, tx, job, change);
}

/**
 * As `changeJob` for jobs whose state is only seen from their claims and operations (policy `nmdc`): there nothing is final and steps
 * are missed, so the table is not asked.
 */
export async function observeJob(ctx: LifecycleContext, tx: Tx, job: JobRow, change: StateChange): Promise<JobRow> {
  return applyChange(ctx, tx, job, change);
}

async function applyChange(ctx: LifecycleContext, tx: Tx, job: JobRow, change: StateChange): Promise<JobRow> {
  const now = ctx.clock.now();
  const state = change.state ?? (job.state as JobState);
  const entered = state !== job.state;
  const phase = change.phase ?? (entered ? "none" : (job.phase as Phase));
  const hold = change.hold === undefined ? (entered ? undefined : parsedHold(job)) : (change.hold ?? undefined);
  const final = isFinal(state);
  const columns = {
    ...change.columns,
    state,
    phase: final ? "none" : phase,
    hold: hold === undefined || final ? null : JSON.stringify(hold),
    status: statusOf(state, phase, hold),
    state_since: entered ? (change.at ?? now) : job.state_since,
    updated_at: now,
    ended_at: final ? (job.ended_at ?? change.at ?? now) : null,
    ...(change.failure === undefined
      ? {}
      : { failure: change.failure === null ? null : JSON.stringify(change.failure) }),
  } satisfies JobChange;
  await tx.db.updateTable("jobs").set(columns).where("id", "=", job.id).execute();
  const after = { ...job, ...columns } as JobRow;
  await appendEvents(tx, ctx.store.kind, changeEvents(job, after, change, now));
  if (isOpen(after)) tx.notify("jobs", job.workflow_id);
  if (final && entered) await settleChildren(ctx, tx, await childrenOf(tx.db, job.id));
  return after;
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
  await insertAll(tx, "job_claims", claimRows(job.id, claims));
  return { row: { ...job, ...columns }, document: next };
}

/** A site could claim it now: those that wait for work of its workflow are woken. */
function isOpen(row: Pick<NewJobRow, "state" | "site_id" | "live_claims" | "hold">): boolean {
  return row.state === "READY" && row.site_id === null && row.live_claims === 0 && row.hold === null;
}

/** The hold of a row, parsed. */
export function parsedHold(row: Pick<JobRow, "hold">): Hold | undefined {
  return row.hold === null ? undefined : (JSON.parse(row.hold) as Hold);
}

export async function childrenOf(db: Queries, id: string): Promise<string[]> {
  const rows = await db
    .selectFrom("job_parents")
    .select("job_id")
    .where("parent_id", "=", id)
    .orderBy("job_id")
    .execute();
  return rows.map((row) => row.job_id);
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

function createdEvent(row: NewJobRow & { id: string }, actor: string): NewEvent {
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

function changeEvents(before: JobRow, after: JobRow, change: StateChange, now: number): NewEvent[] {
  const common = {
    at: now,
    jobId: after.id,
    workflowId: after.workflow_id,
    siteId: after.site_id ?? before.site_id,
    owner: after.owner,
    actor: change.actor,
  };
  const words = { status: after.status, state: after.state, phase: after.phase, attempt: after.attempt };
  const events: NewEvent[] = [];
  if (after.state !== before.state || after.phase !== before.phase || after.attempt !== before.attempt) {
    const failure = after.state === "FAILED" && change.failure ? { failure: { ...change.failure } as JsonObject } : {};
    const data = { ...words, from: before.state, ...failure, ...change.data };
    events.push({ type: "job.state", ...common, data });
  }
  if (after.hold !== before.hold) {
    const hold = after.hold === null ? null : (JSON.parse(after.hold) as JsonObject);
    events.push({ type: "job.hold", ...common, data: { ...words, hold, ...change.data } });
  }
  return events;
}
