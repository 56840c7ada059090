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
import type { JobRow } from "../store/tables.ts";
import type { Queries, StoreKind, Tx } from "../store/types.ts";
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

export interface StateChange {
  readonly state?: JobState;
  readonly phase?: Phase;
  /** null ends a hold. */
  readonly hold?: Hold | null;
  readonly failure?: Failure | null;
  /** Other columns to set with it (site_id, epoch, lease_expires_at, attempt …). */
  readonly columns?: Partial<Omit<JobRow, "id" | "n">>;
  readonly actor: string;
  /** Added to the event's data. */
  readonly data?: JsonObject;
  /** When it happened, if earlier than now (a report that was late). */
  readonly at?: number;
  /** What else is to be told, before the change. */
  readonly events?: readonly NewEvent[];
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
 * As `changeJob` for several jobs, in few statements.
 * @throws Fault ILLEGAL_TRANSITION
 */
export async function changeJobs(ctx: LifecycleContext, tx: Tx, list: readonly JobToChange[]): Promise<JobRow[]> {
  for (const { job, change } of list) {
    const from = job.state as JobState;
    if (change.state !== undefined && change.state !== from) assertAllowed(from, change.state);
  }
  return observeJobs(ctx, tx, list);
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
export async function observeJobs(ctx: LifecycleContext, tx: Tx, list: readonly JobToChange[]): Promise<JobRow[]> {
  const now = ctx.clock.now();
  const latest = new Map<string, { readonly before: JobRow; after: JobRow; columns: ChangedColumns }>();
  const events: NewEvent[] = [];
  const rows: JobRow[] = [];
  const ended: string[] = [];
  for (const { job, change } of list) {
    const known = latest.get(job.id);
    const from = known?.after ?? job;
    const columns = changedColumns(from, change, now);
    const after = { ...from, ...columns };
    events.push(...(change.events ?? []));
    latest.set(job.id, { before: known?.before ?? job, after, columns: { ...known?.columns, ...columns } });
    events.push(...changeEvents(from, after, change, now));
    if (isOpen(after)) tx.notify("jobs", job.workflow_id);
    if (isFinal(after.state as JobState) && after.state !== from.state) ended.push(job.id);
    rows.push(after);
  }
  for (const alike of byColumns([...latest].map(([id, { columns }]) => ({ id, ...columns })))) {
    await tx.update("jobs", alike);
  }
  await followTags(tx, [...latest.values()]);
  await appendEvents(tx, events);
  for (const id of ended) await settleChildren(ctx, tx, await childrenOf(tx.db, id));
  return rows;
}

/** The row that a job has after a change, for those who judge what comes next before anything is written. */
export function changedRow(job: JobRow, change: StateChange, now: number): JobRow {
  return { ...job, ...changedColumns(job, change, now) };
}

type ChangedColumns = ReturnType<typeof changedColumns>;

function changedColumns(job: JobRow, change: StateChange, now: number) {
  const state = change.state ?? (job.state as JobState);
  const entered = state !== job.state;
  const phase = change.phase ?? (entered ? "none" : (job.phase as Phase));
  const hold = change.hold === undefined ? (entered ? undefined : parsedHold(job)) : (change.hold ?? undefined);
  const final = isFinal(state);
  return {
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
  };
}

/** Rows with the same columns together, as `Tx.update` wants them. */
function byColumns<Row extends object>(rows: readonly Row[]): Row[][] {
  return [...Map.groupBy(rows, (row) => Object.keys(row).toSorted().join(" ")).values()];
}

/** Tags carry their job's status. */
async function followTags(tx: Tx, list: readonly { readonly before: JobRow; readonly after: JobRow }[]): Promise<void> {
  const moved = list.filter(({ before, after }) => after.status !== before.status && after.tags !== "{}");
  for (const [status, alike] of Map.groupBy(moved, ({ after }) => after.status)) {
    for (let start = 0; start < alike.length; start += idsPerQuery) {
      const ids = alike.slice(start, start + idsPerQuery).map(({ after }) => after.id);
      await tx.db.updateTable("job_tags").set({ status }).where("job_id", "in", ids).execute();
    }
  }
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

/** A site could claim it now: those that wait for work of its workflow are woken. */
function isOpen(row: Pick<JobRow, "state" | "site_id" | "live_claims" | "hold">): boolean {
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
