/** The state of a job that NMDC agents work on, seen from its claims and their operations (§3.4 of the contract). */
import { isJsonObject, type JsonObject } from "../../common/json.ts";
import { type Failure, type JobState, jobStates, type Phase, phases } from "../../jobs/states.ts";
import { isFinal } from "../../jobs/transitions.ts";
import type { JobRow } from "../store/tables.ts";
import type { Queries, Tx } from "../store/types.ts";
import { type JobDocument, type OperationDocument, parseOperation } from "./document.ts";
import type { StateChange } from "./changes.ts";
import { type LifecycleContext, observeJob } from "./lifecycle.ts";

/** Brings the columns of a locked job in step with its claims. */
export async function followClaims(
  ctx: LifecycleContext,
  tx: Tx,
  job: JobRow,
  document: JobDocument,
  actor: string,
): Promise<JobRow> {
  const seen = await seenState(tx.db, document);
  const columns = {
    site_id: seen.siteId,
    op_id: seen.opId,
    attempt: seen.attempt ?? job.attempt,
    claimed_at: seen.opId === null ? null : seen.opId === job.op_id ? job.claimed_at : ctx.clock.now(),
    ...(seen.result === undefined ? {} : { result: JSON.stringify(seen.result) }),
  };
  // Without a claim there is nothing to see: a job that waits for parents, or ended otherwise (a parent failed, an order), stays so.
  const unseen =
    seen.opId === null && (job.state === "AWAITING_PARENTS" || (job.ended_at !== null && job.op_id === null));
  if (unseen || unchanged(job, seen)) {
    if (columns.site_id !== job.site_id || columns.op_id !== job.op_id) {
      await tx.db
        .updateTable("jobs")
        .set({ ...columns, updated_at: ctx.clock.now() })
        .where("id", "=", job.id)
        .execute();
      tx.notify("jobs", job.workflow_id);
    }
    return { ...job, ...columns };
  }
  const change: StateChange = {
    state: seen.state,
    phase: seen.phase,
    ...(seen.opId === null ? {} : { hold: null }),
    failure: seen.failure ?? null,
    columns,
    actor,
  };
  return observeJob(ctx, tx, job, change);
}

function unchanged(job: JobRow, seen: Seen): boolean {
  const sameAttempt = (seen.attempt ?? job.attempt) === job.attempt;
  const held = job.hold !== null && seen.opId !== null;
  return job.state === seen.state && job.phase === seen.phase && sameAttempt && !held && seen.result === undefined;
}

interface Seen {
  readonly state: JobState;
  readonly phase: Phase;
  readonly siteId: string | null;
  readonly opId: string | null;
  readonly attempt?: number;
  readonly failure?: Failure;
  readonly result?: JsonObject;
}

const unclaimed: Seen = { state: "READY", phase: "none", siteId: null, opId: null };

async function seenState(db: Queries, document: JobDocument): Promise<Seen> {
  const standing = (document.claims ?? []).filter((claim) => claim.cancelled !== true);
  if (standing.length === 0) return unclaimed;
  const rows = await db
    .selectFrom("operations")
    .select(["id", "doc"])
    .where(
      "id",
      "in",
      standing.map((claim) => claim.op_id),
    )
    .where("job_id", "=", document.id)
    .execute();
  const operations = new Map(rows.map((row) => [row.id, parseOperation(row)]));
  // A site that claimed twice takes one back by closing its operation; the job's claims do not tell (§3.3 of the contract).
  const live = standing.filter(({ op_id: id }) => operations.get(id)?.metadata["cancelled"] !== true);
  // A finished claim says more than an open one; of several the last.
  const done = live.findLast((claim) => operations.get(claim.op_id)?.done);
  const claim = done ?? live.find((one) => operations.has(one.op_id)) ?? live[0];
  if (!claim) return unclaimed;
  const holder = { siteId: claim.site_id, opId: claim.op_id };
  const operation = operations.get(claim.op_id);
  if (!operation) return { state: "READY", phase: "claimed", ...holder };
  return { ...(operation.done ? ended(operation) : underWay(operation)), ...holder };
}

/** What `metadata.siteagent` says, as far as it can be believed. */
function underWay(operation: OperationDocument): Pick<Seen, "state" | "phase" | "attempt"> {
  const report = operation.metadata["siteagent"];
  if (!isJsonObject(report)) return { state: "READY", phase: "claimed" };
  const state = jobStates.find((one) => one === report["state"]);
  const attempt = report["attempt"];
  const known =
    typeof attempt === "number" && Number.isInteger(attempt) && attempt >= 0 && attempt < 2 ** 31 ? { attempt } : {};
  if (state === undefined || isFinal(state)) return { state: "READY", phase: "claimed", ...known };
  const phase = phases.find((one) => one === report["phase"]) ?? (state === "READY" ? "claimed" : "none");
  return { state, phase, ...known };
}

function ended(operation: OperationDocument): Pick<Seen, "state" | "phase" | "failure" | "result" | "attempt"> {
  const result = isJsonObject(operation.result as JsonObject) ? (operation.result as JsonObject) : undefined;
  const { attempt } = underWay(operation);
  const known = {
    phase: "none",
    ...(attempt === undefined ? {} : { attempt }),
    ...(result === undefined ? {} : { result }),
  } as const;
  const code = result?.["code"];
  if (result === undefined || typeof code !== "string") return { state: "JOB_FINISHED", ...known };
  return { state: code === "CANCELLED" ? "CANCELLED" : "FAILED", ...known, failure: failureOf(code, result) };
}

function failureOf(code: string, result: JsonObject): Failure {
  const details = isJsonObject(result["details"]) ? result["details"] : {};
  const exitCode = details["exit_code"];
  const signal = details["signal"];
  return {
    code: code.slice(0, 64),
    category: "site",
    message: typeof result["message"] === "string" ? result["message"].slice(0, 2000) : "the site reported a failure",
    ...(typeof exitCode === "number" ? { exit_code: exitCode } : {}),
    ...(typeof signal === "string" ? { signal } : {}),
  };
}
