/** Claims by the NMDC contract: any number, by anybody. Each is one transaction on the locked job. */
import { failpoint } from "../../common/failpoint.ts";
import { Fault } from "../../common/fault.ts";
import { isJsonObject, type JsonObject } from "../../common/json.ts";
import type { SiteIdentity } from "../auth/guard.ts";
import { newId } from "../ids.ts";
import { HttpProblem, notFound } from "../problem.ts";
import type { JobRow, OperationRow } from "../store/tables.ts";
import type { Tx } from "../store/types.ts";
import { type JobClaim, type JobDocument, type OperationDocument, parseJob, parseOperation } from "./document.ts";
import { followClaims } from "./follow.ts";
import { type LifecycleContext, lockJob, writeClaims } from "./lifecycle.ts";

export const claimModel = "nmdc_runtime.api.models.job.JobOperationMetadata";
const operationLifeMs = 30 * 86_400_000;

export interface Claimed {
  readonly operation: OperationDocument;
  /** The job as it was when claimed. */
  readonly job: JobDocument;
  readonly expireAt: number;
}

/** Claims a job. Throws 404, 403 for a missing capability, `CLAIM_EXCLUSIVE`. */
export async function claimJob(ctx: LifecycleContext, site: SiteIdentity, id: string): Promise<Claimed> {
  const claimed = await ctx.store.transaction(async (tx) => {
    const row = await openJob(ctx, tx, id);
    refuseWaiting(row, site.siteId);
    const document = parseJob(row);
    await checkCapabilities(tx, site.siteId, document);
    const expireAt = ctx.clock.now() + operationLifeMs;
    const operation = await insertOperation(tx, document, site.siteId, ctx.clock.now(), expireAt);
    // The first claim of a job that a trigger made turns its time from text into a date.
    const dated =
      typeof document.created_at === "string" ? { ...document, created_at: { $date: row.created_at } } : document;
    const claims = [...(document.claims ?? []), { op_id: operation.id, site_id: site.siteId }];
    const written = await writeClaims(tx, row, dated, claims);
    await followClaims(ctx, tx, written.row, written.document, `client:${site.name}`);
    await failpoint("hub.before-claim");
    return { operation, job: document, expireAt };
  });
  await failpoint("hub.after-claim");
  return claimed;
}

async function openJob(ctx: LifecycleContext, tx: Tx, id: string): Promise<JobRow> {
  const row = await lockJob(tx, ctx.store.kind, id);
  if (!row) throw notFound();
  if (row.claims_policy === "exclusive") {
    throw new Fault("CLAIM_EXCLUSIVE", `jobs of workflow '${row.workflow_id}' are claimed through /siteagent/v1/ only`);
  }
  return row;
}

/** Jobs that wait for parents or a person, or ended without a claim, are in no list; who guesses their id is refused. */
function refuseWaiting(row: JobRow, siteId: string): void {
  if (row.wanted_site !== null && row.wanted_site !== siteId) {
    throw new Fault("FORBIDDEN", `job '${row.id}' is for site '${row.wanted_site}'`);
  }
  const idle = row.live_claims === 0 && (row.hold !== null || row.ended_at !== null);
  if (row.state !== "AWAITING_PARENTS" && !idle) return;
  throw new Fault("CONFLICT", `job '${row.id}' cannot be claimed: it is ${row.status}, state ${row.state}`);
}

async function checkCapabilities(tx: Tx, siteId: string, document: JobDocument): Promise<void> {
  const needed = document.workflow.capability_ids ?? [];
  if (needed.length === 0) return;
  const site = await tx.db.selectFrom("sites").select("doc").where("id", "=", siteId).executeTakeFirst();
  const has = site ? ((JSON.parse(site.doc) as { capability_ids?: string[] }).capability_ids ?? []) : [];
  const missing = needed.find((capability) => !has.includes(capability));
  if (missing !== undefined) {
    throw new HttpProblem(403, `client site does not have capability ${missing} required to claim job`);
  }
}

/** A new operation of a site on a job, stored with every optional field null. */
export async function insertOperation(
  tx: Tx,
  job: JobDocument,
  siteId: string,
  now: number,
  expireAt: number,
): Promise<OperationDocument> {
  const operation = newOperation(job, siteId, expireAt);
  await tx.insert("operations", [operationRow(operation, job.id, siteId, now, expireAt)]);
  return operation;
}

/** An operation of a site on a job that is still to be stored; also for exclusive claims. */
export function newOperation(job: JobDocument, siteId: string, expireAt: number): OperationDocument {
  const { workflow } = job;
  const metadata = {
    model: claimModel,
    cancelled: null,
    job: {
      workflow: {
        name: workflow.name ?? null,
        description: workflow.description ?? null,
        capability_ids: workflow.capability_ids ?? null,
        id: workflow.id,
        created_at: workflow.created_at ?? null,
      },
      name: null,
      description: null,
      id: job.id,
      created_at: null,
      config: job.config,
      claims: [],
    },
    site_id: siteId,
  } as unknown as JsonObject;
  return { id: newId(), done: false, expire_time: { $date: expireAt }, result: null, metadata };
}

export function operationRow(
  operation: OperationDocument,
  jobId: string,
  siteId: string,
  now: number,
  expireAt: number,
) {
  return {
    id: operation.id,
    doc: JSON.stringify(operation),
    job_id: jobId,
    site_id: siteId,
    done: 0,
    cancelled: 0,
    created_at: now,
    expire_at: expireAt,
  };
}

/** Releases a site's open claims on a job; undefined for an unknown job. */
export async function releaseJob(ctx: LifecycleContext, site: SiteIdentity, id: string): Promise<JobDocument> {
  const released = await ctx.store.transaction(async (tx) => {
    const row = await openJob(ctx, tx, id);
    const document = parseJob(row);
    const operations = await openOperations(tx, id, site.siteId);
    for (const operation of operations) {
      const parsed = parseOperation(operation);
      const next = { ...parsed, metadata: { ...parsed.metadata, cancelled: true, done: true } };
      await tx.db
        .updateTable("operations")
        .set({ doc: JSON.stringify(next), cancelled: 1 })
        .where("id", "=", operation.id)
        .execute();
    }
    const others = (document.claims ?? []).filter((claim) => claim.site_id !== site.siteId);
    const own: JobClaim[] = operations.map((operation) => ({
      op_id: operation.id,
      site_id: site.siteId,
      done: true,
      cancelled: true,
    }));
    const written = await writeClaims(tx, row, document, [...others, ...own]);
    await followClaims(ctx, tx, written.row, written.document, `client:${site.name}`);
    await failpoint("hub.before-unclaim");
    return written.document;
  });
  await failpoint("hub.after-unclaim");
  return released;
}

function openOperations(tx: Tx, jobId: string, siteId: string): Promise<OperationRow[]> {
  return tx.db
    .selectFrom("operations")
    .selectAll()
    .where("job_id", "=", jobId)
    .where("site_id", "=", siteId)
    .where("done", "=", 0)
    .orderBy("n")
    .execute();
}

export interface OperationPatch {
  readonly done?: boolean | undefined;
  readonly result?: unknown;
  readonly metadata?: JsonObject | undefined;
}

/** These cannot be changed: what a site sends for them is overwritten by what is stored. */
const protectedKeys = ["site_id", "job", "model"] as const;

/** Patches an operation by the rule of §3.3. Throws 404, 403 for another site's. */
export async function patchOperation(
  ctx: LifecycleContext,
  site: SiteIdentity,
  id: string,
  patch: OperationPatch,
): Promise<OperationDocument> {
  const written = await ctx.store.transaction(async (tx) => {
    // The job first: claim and release lock in the same order.
    const known = await tx.db
      .selectFrom("operations")
      .select(["job_id", "site_id"])
      .where("id", "=", id)
      .executeTakeFirst();
    if (!known) throw notFound();
    if (known.site_id !== site.siteId)
      throw new HttpProblem(403, `client authorized for different site_id than ${known.site_id}`);
    const job = known.job_id === null ? undefined : await lockJob(tx, ctx.store.kind, known.job_id);
    if (job?.claims_policy === "exclusive") {
      throw new Fault(
        "CLAIM_EXCLUSIVE",
        `operations on workflow '${job.workflow_id}' are reported through /siteagent/v1/ only`,
      );
    }
    const query = tx.db.selectFrom("operations").selectAll().where("id", "=", id);
    const row = await (ctx.store.kind === "postgres" ? query.forUpdate() : query).executeTakeFirst();
    if (!row) throw notFound();
    const next = patched(parseOperation(row), patch);
    await tx.db
      .updateTable("operations")
      .set({
        doc: JSON.stringify(next),
        done: next.done ? 1 : 0,
        cancelled: next.metadata["cancelled"] === true ? 1 : 0,
      })
      .where("id", "=", id)
      .execute();
    if (job) await followClaims(ctx, tx, job, parseJob(job), `client:${site.name}`);
    await failpoint("hub.before-patch");
    return next;
  });
  await failpoint("hub.after-patch");
  return written;
}

function patched(operation: OperationDocument, patch: OperationPatch): OperationDocument {
  const kept = protectedKeys.flatMap((key) =>
    key in operation.metadata ? [[key, operation.metadata[key]] as const] : [],
  );
  return {
    ...operation,
    done: patch.done ?? operation.done,
    result: "result" in patch ? patch.result : operation.result,
    metadata: { ...(isJsonObject(patch.metadata) ? patch.metadata : {}), ...(Object.fromEntries(kept) as JsonObject) },
  };
}
