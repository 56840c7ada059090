/**
 * One holder per job: claim, lease, hand-back. Every claim is an NMDC operation too, so that NMDC readers see it. Whoever
 * changes a job here has locked it first.
 */
import { type RawBuilder, sql, type SqlBool } from "kysely";
import { failpoint } from "../../common/failpoint.ts";
import type { JsonObject } from "../../common/json.ts";
import type { JobState } from "../../jobs/states.ts";
import { isAllowed } from "../../jobs/transitions.ts";
import { insertOperation, newOperation, operationRow } from "../jobs/claims.ts";
import { type JobClaim, type JobDocument, type OperationDocument, parseJob, parseOperation } from "../jobs/document.ts";
import {
  changeJob,
  changeJobs,
  type JobToChange,
  type LifecycleContext,
  lockJob,
  observeJob,
  writeClaims,
} from "../jobs/lifecycle.ts";
import { claimColumns, claimRow, idsPerQuery } from "../jobs/rows.ts";
import { appendEvents } from "../store/events.ts";
import type { JobRow } from "../store/tables.ts";
import type { Queries, Tx, Write } from "../store/types.ts";

/** How long an assignment that was not acknowledged keeps the job from others, milliseconds. */
export const leaseMs = 90_000;
const operationLifeMs = 30 * 86_400_000;

/** Nobody holds it and nothing keeps it from starting. Also claims of the NMDC dialect count as holders. */
export function isClaimable(job: JobRow, siteId: string): boolean {
  return (
    job.state === "READY" &&
    job.site_id === null &&
    job.live_claims === 0 &&
    job.hold === null &&
    (job.wanted_site === null || job.wanted_site === siteId)
  );
}

/** The same as a condition; in the words of the index jobs_assignable, as constants, so that the index serves. */
export function assignable(siteId: string): RawBuilder<SqlBool> {
  return sql<SqlBool>`state = 'READY' AND site_id IS NULL AND live_claims = 0 AND hold IS NULL AND ended_at IS NULL
    AND (wanted_site IS NULL OR wanted_site = ${siteId})`;
}

/** Hands a claimable, locked job to a site: next epoch, new operation, entry in `claims`, lease. */
export async function claimJob(
  ctx: LifecycleContext,
  tx: Tx,
  job: JobRow,
  siteId: string,
  actor: string,
): Promise<JobRow> {
  const [row = job] = await claimJobs(ctx, tx, [job], siteId, actor);
  return row;
}

/** As `claimJob` for several jobs, in few statements. */
export async function claimJobs(
  ctx: LifecycleContext,
  tx: Tx,
  jobs: readonly JobRow[],
  siteId: string,
  actor: string,
): Promise<JobRow[]> {
  const now = ctx.clock.now();
  const expireAt = now + operationLifeMs;
  const operations: ReturnType<typeof operationRow>[] = [];
  const entries: ReturnType<typeof claimRow>[] = [];
  const changes = jobs.map((job): JobToChange => {
    const document = parseJob(job);
    const operation = newOperation(document, siteId, expireAt);
    operations.push(operationRow(operation, job.id, siteId, now, expireAt));
    const claim: JobClaim = { op_id: operation.id, site_id: siteId };
    const claims = [...(document.claims ?? []), claim];
    entries.push(claimRow(job.id, claim, claims.length - 1));
    const epoch = job.epoch + 1;
    const columns = {
      doc: JSON.stringify({ ...withStoredDate(document, job), claims }),
      ...claimColumns(claims),
      site_id: siteId,
      op_id: operation.id,
      epoch,
      claimed_at: now,
      lease_expires_at: now + leaseMs,
      bound: 0,
      report_seq: 0,
      attempt: 0,
      attempt_end: null,
    };
    return { job, change: { phase: "claimed", actor, columns, data: { op_id: operation.id, epoch } } };
  });
  return changeJobs(ctx, tx, changes, [
    { insert: "operations", rows: operations },
    { insert: "job_claims", rows: entries },
  ]);
}

/** Where a job may be handed back: nothing of it runs. */
export function isReleasable(state: JobState): boolean {
  return state === "READY" || isAllowed(state, "READY");
}

/** Takes a locked job from its holder: the operation is closed as an NMDC release and a closing PATCH would, the epoch fences late writers. */
export async function unclaimJob(
  ctx: LifecycleContext,
  tx: Tx,
  job: JobRow,
  why: { readonly code: string; readonly reason: string; readonly actor: string },
): Promise<JobRow> {
  const document = parseJob(job);
  const claims = (document.claims ?? []).map((claim): JobClaim => {
    return claim.op_id === job.op_id ? { ...claim, done: true, cancelled: true } : claim;
  });
  const written = await writeClaims(tx, job, document, claims);
  if (job.op_id !== null) {
    await closeOperation(tx, job.op_id, { code: why.code, message: why.reason }, { cancelled: true, done: true });
  }
  await tx.db
    .updateTable("orders")
    .set({ acknowledged_at: ctx.clock.now() })
    .where("job_id", "=", job.id)
    .where("acknowledged_at", "is", null)
    .execute();
  if (job.site_id !== null) tx.notify("orders", job.site_id);
  const released = await observeJob(ctx, tx, written.row, {
    state: "READY",
    phase: "none",
    hold: null,
    actor: why.actor,
    columns: {
      site_id: null,
      op_id: null,
      claimed_at: null,
      lease_expires_at: null,
      bound: 0,
      report_seq: 0,
      epoch: job.epoch + 1,
    },
    data: { released: why.reason, code: why.code },
  });
  const cancelling = job.hold !== null && (JSON.parse(job.hold) as { kind?: string }).kind === "cancelling";
  if (!cancelling) return released;
  const closed = job.claims_policy === "nmdc" ? await closeForReaders(ctx, tx, released, why.reason) : released;
  return changeJob(ctx, tx, closed, { state: "CANCELLED", actor: why.actor });
}

/** Sets `done` and result of an operation, and adds to its metadata. The job's lock keeps others of ours away. */
export async function closeOperation(tx: Tx, opId: string, result: unknown, metadata: JsonObject): Promise<void> {
  const doc = (await readOperations(tx.db, [opId])).get(opId);
  if (!doc) return;
  const closed = { ...doc, done: true, result, metadata: { ...doc.metadata, ...metadata } };
  await tx.write([operationWrites([closed])]);
}

export async function readOperations(db: Queries, ids: readonly string[]): Promise<Map<string, OperationDocument>> {
  const found = new Map<string, OperationDocument>();
  for (let start = 0; start < ids.length; start += idsPerQuery) {
    const slice = ids.slice(start, start + idsPerQuery);
    const rows = await db.selectFrom("operations").select(["id", "doc"]).where("id", "in", slice).execute();
    for (const row of rows) found.set(row.id, parseOperation(row));
  }
  return found;
}

export function operationWrites(documents: readonly OperationDocument[]): Write {
  const rows = documents.map((doc) => ({
    id: doc.id,
    doc: JSON.stringify(doc),
    done: doc.done ? 1 : 0,
    cancelled: doc.metadata["cancelled"] === true ? 1 : 0,
  }));
  return { update: "operations", rows };
}

/**
 * Gives back all jobs whose unbound claim ran out: nobody started them, because nothing is started without an acknowledged
 * report. Called before every look for work and by a sweep.
 */
export async function releaseExpired(ctx: LifecycleContext): Promise<number> {
  return releaseAll(ctx, await expiredIds(ctx.store.db, ctx.clock.now()));
}

/** Those of them that are still unbound and over. */
export async function releaseAll(ctx: LifecycleContext, due: readonly string[]): Promise<number> {
  let released = 0;
  for (const id of due) {
    released += await ctx.store.transaction(async (tx) => {
      const job = await lockJob(tx, ctx.store.kind, id);
      const now = ctx.clock.now();
      if (!job || job.bound === 1 || job.lease_expires_at === null || job.lease_expires_at > now) return 0;
      const reason = `site '${job.site_id ?? "?"}' did not confirm the claim in time`;
      await unclaimJob(ctx, tx, job, { code: "LEASE_EXPIRED", reason, actor: "hub" });
      await failpoint("hub.before-expire");
      return 1;
    });
    await failpoint("hub.after-expire");
  }
  return released;
}

/** In the words of the index jobs_unconfirmed, as constants, so that the index serves. */
const unconfirmed = sql<SqlBool>`lease_expires_at IS NOT NULL AND bound = 0 AND ended_at IS NULL`;

/** Jobs whose unbound claim ran out, some hundred at most. */
export async function expiredIds(db: Queries, now: number): Promise<string[]> {
  const rows = await db
    .selectFrom("jobs")
    .select("id")
    .where(unconfirmed)
    .where("lease_expires_at", "<=", now)
    .orderBy("lease_expires_at")
    .limit(200)
    .execute();
  return rows.map((row) => row.id);
}

/** The site id under which the hub itself closes jobs that nobody held. */
const hubSite = "siteagent-hub";

/** NMDC readers know no cancelled jobs: a closed claim of the hub tells them that nothing is open here. */
export async function closeForReaders(ctx: LifecycleContext, tx: Tx, job: JobRow, reason: string): Promise<JobRow> {
  const now = ctx.clock.now();
  const document = parseJob(job);
  const { id } = await insertOperation(tx, document, hubSite, now, now + operationLifeMs);
  await closeOperation(tx, id, { code: "CANCELLED", message: reason, details: {} }, {});
  const claims = [...(document.claims ?? []), { op_id: id, site_id: hubSite }];
  return (await writeClaims(tx, job, withStoredDate(document, job), claims)).row;
}

/** Tells event readers what a job was asked to do. */
export async function orderEvent(
  ctx: LifecycleContext,
  tx: Tx,
  job: JobRow,
  order: {
    readonly kind: string;
    readonly id: string;
    readonly actor: string;
    readonly reason: string;
    readonly result: string;
  },
): Promise<void> {
  const { actor, ...data } = order;
  await appendEvents(tx, [
    {
      type: "job.order",
      at: ctx.clock.now(),
      jobId: job.id,
      workflowId: job.workflow_id,
      siteId: job.site_id,
      owner: job.owner,
      actor,
      data,
    },
  ]);
}

/** Text of a trigger-made job's `created_at` turns into a date at the first claim, as on the NMDC Runtime. */
function withStoredDate(document: JobDocument, job: JobRow): JobDocument {
  return typeof document.created_at === "string" ? { ...document, created_at: { $date: job.created_at } } : document;
}
