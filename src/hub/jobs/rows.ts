/** Rows of a new job and of its claims. */
import { isJsonObject, type JsonObject } from "../../common/json.ts";
import type { ParentPolicy } from "../../jobs/parent-policy.ts";
import { newId } from "../ids.ts";
import type { JobRow } from "../store/tables.ts";
import type { Queries } from "../store/types.ts";
import { type EmbeddedWorkflow, type JobClaim, type JobDocument } from "./document.ts";

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

/** Ids per SELECT: below the parameter limits of both engines. */
export const idsPerQuery = 400;

/** All columns of a job, without the copy that PostgreSQL makes of the document for filters. */
export const jobColumns = [
  "n",
  "id",
  "doc",
  "workflow_id",
  "name",
  "created_at",
  "object_id",
  "odd_object",
  "claim_count",
  "live_claims",
  "claims_policy",
  "trigger_id",
  "trigger_object_id",
  "state",
  "phase",
  "hold",
  "status",
  "state_since",
  "owner",
  "wanted_site",
  "site_id",
  "op_id",
  "attempt",
  "epoch",
  "claimed_at",
  "lease_expires_at",
  "bound",
  "report_seq",
  "tags",
  "parents",
  "parent_policy",
  "priority",
  "retry_of",
  "failure",
  "attempt_end",
  "spec",
  "result",
  "updated_at",
  "ended_at",
] as const satisfies readonly (keyof JobRow)[];

export function newRow(job: NewJob, at: number, policy: string): Omit<JobRow, "n"> {
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
  return claims.map((claim, position) => claimRow(jobId, claim, position));
}

export function claimRow(jobId: string, claim: JobClaim, position: number) {
  return {
    job_id: jobId,
    position,
    op_id: claim.op_id,
    site_id: claim.site_id,
    cancelled: claim.cancelled === true ? 1 : 0,
  };
}

/** The rows by which lists find a job by its tags. */
export function tagRows(row: JobRow, tags: Readonly<Record<string, string>>) {
  const { id, status, created_at, n } = row;
  return Object.entries(tags).map(([key, value]) => ({ job_id: id, key, value, status, created_at, n }));
}

/** The parts of a row that are JSON. */
export interface JobParts {
  readonly doc: JobDocument;
  readonly tags: Readonly<Record<string, string>>;
  readonly parents: readonly string[];
  readonly spec: JsonObject;
}

function isJobDocument(value: unknown): value is JobDocument {
  return isJsonObject(value) && isJsonObject(value["workflow"]) && isJsonObject(value["config"]);
}

function isTags(value: unknown): value is JobParts["tags"] {
  return isJsonObject(value) && Object.values(value).every((tag) => typeof tag === "string");
}

/** Reads them; undefined when the row is damaged or was edited by hand: such a job fails, and no other with it. */
export function partsOf(row: JobRow): JobParts | undefined {
  try {
    const doc: unknown = JSON.parse(row.doc);
    const tags: unknown = JSON.parse(row.tags);
    const parents: unknown = JSON.parse(row.parents);
    const spec: unknown = row.spec === null ? {} : JSON.parse(row.spec);
    if (!isJobDocument(doc) || !isTags(tags) || !Array.isArray(parents) || !isJsonObject(spec)) return undefined;
    return { doc, tags, parents, spec };
  } catch {
    return undefined;
  }
}

/** Who may claim jobs of these workflows; one that is not registered has no entry. */
export async function claimPolicies(db: Queries, workflows: ReadonlySet<string>): Promise<Map<string, string>> {
  const ids = [...workflows];
  const policies = new Map<string, string>();
  for (let start = 0; start < ids.length; start += idsPerQuery) {
    const rows = await db
      .selectFrom("workflows")
      .select(["id", "claims_policy"])
      .where("id", "in", ids.slice(start, start + idsPerQuery))
      .execute();
    for (const row of rows) policies.set(row.id, row.claims_policy);
  }
  return policies;
}
