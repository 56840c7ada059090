/** Rows of a new job and of its claims. */
import type { JsonObject } from "../../common/json.ts";
import type { ParentPolicy } from "../../jobs/parent-policy.ts";
import { newId } from "../ids.ts";
import type { JobRow, NewJobRow } from "../store/tables.ts";
import type { Queries, Tx } from "../store/types.ts";
import type { EmbeddedWorkflow, JobClaim, JobDocument } from "./document.ts";

export interface NewJob {
  readonly workflow: EmbeddedWorkflow;
  readonly config: JsonObject;
  readonly name?: string | null;
  readonly description?: string | null;
  readonly claims?: readonly JobClaim[];
  readonly owner?: string;
  readonly tags?: Readonly<Record<string, string>>;
  /** Ids of existing jobs; the caller has checked that they exist. */
  readonly parents?: readonly string[];
  readonly parentPolicy?: ParentPolicy;
  readonly priority?: number;
  readonly wantedSite?: string;
  readonly retryOf?: string;
  /** Set by triggers: one job per (workflow, object), the database refuses a second (`isUniqueViolation`). */
  readonly trigger?: { readonly id: string; readonly objectId: string };
  /** Kept beside the document for /siteagent/v1/ (parameters …). */
  readonly spec?: JsonObject;
  /** Who makes it: `user:…`, `client:…`, `trigger:…`. */
  readonly actor: string;
}

/** Rows per INSERT: below the parameter limits of both engines. */
export const insertRows = 400;

/** Rows of PostgreSQL carry the generated column `q`; nobody needs it. */
export function jobRow(row: JobRow): JobRow {
  if ("q" in row) delete (row as { q?: unknown }).q;
  return row;
}

export function newRow(job: NewJob, at: number, policy: string): NewJobRow & { id: string } {
  const id = newId();
  const objectId = job.config["object_id"];
  const document: JobDocument = {
    workflow: job.workflow,
    ...(job.name === undefined ? {} : { name: job.name }),
    ...(job.description === undefined ? {} : { description: job.description }),
    id,
    created_at: job.trigger ? new Date(at).toISOString().replace("Z", "000Z") : { $date: at },
    config: job.config,
    ...(job.claims === undefined ? {} : { claims: job.claims }),
  };
  const waits = (job.parents?.length ?? 0) > 0;
  return {
    id,
    doc: JSON.stringify(document),
    workflow_id: job.workflow.id,
    name: job.name ?? null,
    created_at: at,
    object_id: typeof objectId === "string" ? objectId : null,
    odd_object: Array.isArray(objectId) ? 1 : 0,
    ...claimColumns(job.claims),
    claims_policy: policy,
    trigger_id: job.trigger?.id ?? null,
    trigger_object_id: job.trigger?.objectId ?? null,
    state: waits ? "AWAITING_PARENTS" : "READY",
    phase: "none",
    hold: null,
    status: "PENDING",
    state_since: at,
    owner: job.owner ?? null,
    wanted_site: job.wantedSite ?? null,
    site_id: null,
    op_id: null,
    attempt: 0,
    epoch: 0,
    claimed_at: null,
    lease_expires_at: null,
    bound: 0,
    report_seq: 0,
    tags: JSON.stringify(job.tags ?? {}),
    parents: JSON.stringify(job.parents ?? []),
    parent_policy: job.parentPolicy ?? "all_finished",
    priority: job.priority ?? 0,
    retry_of: job.retryOf ?? null,
    failure: null,
    attempt_end: null,
    spec: job.spec === undefined ? null : JSON.stringify(job.spec),
    result: null,
    updated_at: at,
    ended_at: null,
  };
}

export function claimColumns(claims: readonly JobClaim[] | undefined): {
  claim_count: number | null;
  live_claims: number;
} {
  return {
    claim_count: claims?.length ?? null,
    live_claims: claims?.filter((claim) => claim.cancelled !== true).length ?? 0,
  };
}

export function claimRows(jobId: string, claims: readonly JobClaim[]) {
  return claims.map((claim, position) => ({
    job_id: jobId,
    position,
    op_id: claim.op_id,
    site_id: claim.site_id,
    cancelled: claim.cancelled === true ? 1 : 0,
  }));
}

/** Who may claim jobs of these workflows; one that is not registered has no entry. */
export async function claimPolicies(db: Queries, workflows: ReadonlySet<string>): Promise<Map<string, string>> {
  const ids = [...workflows];
  const policies = new Map<string, string>();
  for (let start = 0; start < ids.length; start += insertRows) {
    const rows = await db
      .selectFrom("workflows")
      .select(["id", "claims_policy"])
      .where("id", "in", ids.slice(start, start + insertRows))
      .execute();
    for (const row of rows) policies.set(row.id, row.claims_policy);
  }
  return policies;
}

type Insertable = "jobs" | "job_claims" | "job_tags" | "job_parents";

export async function insertAll(tx: Tx, table: Insertable, rows: readonly object[]): Promise<void> {
  for (let start = 0; start < rows.length; start += insertRows) {
    await tx.db
      .insertInto(table)
      .values(rows.slice(start, start + insertRows) as never)
      .execute();
  }
}
