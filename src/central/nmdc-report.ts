import type { CallContext } from "../common/context.ts";
import { type Fault, isFault } from "../common/fault.ts";
import type { JsonObject } from "../common/json.ts";
import { statusOf } from "../jobs/status.ts";
import type { OperationMetadata } from "../wire/agent-api.ts";
import type { NmdcApi } from "./nmdc-api.ts";
import { isCancelled, type NmdcClaims, ownMetadata, siteagentOf, siteOf } from "./nmdc-claims.ts";
import type { NmdcOperation } from "./nmdc-schemas.ts";
import { utcMs } from "./times.ts";
import type { Report, ReportResult } from "./types.ts";

/** A list of outputs above this stays out of the operation, which lies in one database document. */
const maxResultBytes = 1_000_000;
/** Operations vanish 30 days after the claim; said this long before. */
const expiryWarningMs = 3 * 86_400_000;

type Outcome = Pick<ReportResult, "outcome" | "detail">;

export interface ReportDeps {
  readonly api: NmdcApi;
  readonly claims: NmdcClaims;
  readonly site: string;
}

/**
 * Sends reports to operations: per job only the newest of a batch, because the operation shows one state. Results are in the
 * order of the reports. A job whose operation the API cannot serve now is answered `gap` (send it again) when others came through.
 */
export async function reportAll(
  deps: ReportDeps,
  reports: readonly Report[],
  context: CallContext,
): Promise<readonly ReportResult[]> {
  const byJob = new Map<string, Report[]>();
  for (const report of reports) {
    const key = `${report.job} ${report.op_id}`;
    byJob.set(key, [...(byJob.get(key) ?? []), report]);
  }
  const outcomes = new Map<Report, Outcome>();
  let fault: Fault | undefined;
  for (const group of byJob.values()) {
    try {
      const outcome = await reportGroup(deps, group, context);
      for (const report of group) outcomes.set(report, outcome);
    } catch (error) {
      if (!isFault(error)) throw error;
      fault ??= error;
      if (!isOfOneOperation(error)) break;
    }
  }
  if (fault && outcomes.size === 0) throw fault;
  return reports.map((report): ReportResult => {
    const { job, epoch, seq } = report;
    const outcome = outcomes.get(report) ?? { outcome: "gap" as const, detail: "not sent yet" };
    const expected = outcome.outcome === "gap" ? { expected_seq: seq } : {};
    return { job, epoch, seq, ...outcome, ...expected };
  });
}

/** A server error may belong to one operation; without any answer the others need not be tried. */
function isOfOneOperation(fault: Fault): boolean {
  return fault.code === "UNREACHABLE" && fault.details?.["kind"] === "status";
}

async function reportGroup(deps: ReportDeps, group: readonly Report[], context: CallContext): Promise<Outcome> {
  const last = group.at(-1);
  if (!last) return { outcome: "applied" };
  let operation: NmdcOperation;
  try {
    operation = await deps.api.operation(last.op_id, context);
  } catch (error) {
    if (isFault(error, "NOT_FOUND")) return { outcome: "unknown-job", detail: "the operation is gone" };
    throw error;
  }
  if (siteOf(operation) !== deps.site) {
    return { outcome: "fenced", detail: `the operation belongs to site '${siteOf(operation) ?? "?"}'` };
  }
  const known = siteagentOf(operation);
  if (typeof known?.["seq"] === "number" && known["seq"] >= last.seq && (operation.done === true || !last.done)) {
    return { outcome: "duplicate" };
  }
  if (isCancelled(operation)) return { outcome: "fenced", detail: "the claim was cancelled at the API" };
  warnOfExpiry(operation, last, context);
  const first = known === undefined;
  if (first && !(await deps.claims.confirm(last.job, last.op_id, false, context))) return lostToAnother;
  try {
    await deps.api.patch(last.op_id, patchOf(operation, last), context);
  } catch (error) {
    if (isFault(error, "NOT_FOUND")) return { outcome: "unknown-job", detail: "the operation is gone" };
    if (isFault(error, "INVALID", "USAGE", "TOO_LARGE")) return { outcome: "refused", detail: error.message };
    throw error;
  }
  if (first && !last.done && !(await deps.claims.confirm(last.job, last.op_id, true, context))) return lostToAnother;
  return { outcome: "applied" };
}

const lostToAnother: Outcome = { outcome: "fenced", detail: "another site holds the job by the shared rule" };

function patchOf(operation: NmdcOperation, report: Report): Parameters<NmdcApi["patch"]>[1] {
  const { state, phase, hold, attempt, seq, at } = report;
  const siteagent: OperationMetadata = { state, status: statusOf(state, phase, hold), attempt, seq, at };
  const metadata = { ...ownMetadata(operation), siteagent: { ...siteagent } };
  return report.done === true ? { metadata, done: true, result: resultOf(report) } : { metadata };
}

function resultOf({ state, outputs = [], outputs_count: count = outputs.length, failure, end }: Report): JsonObject {
  if (state === "JOB_FINISHED") {
    const result = { outputs: outputs.map((file) => ({ ...file })) };
    const isListed = count === outputs.length && JSON.stringify(result).length <= maxResultBytes;
    return isListed ? result : { outputs: [], truncated: true, count };
  }
  return {
    code: failure?.code ?? state,
    message: failure?.message ?? end?.message ?? `the job ended as ${state}`,
    details: {
      exit_code: failure?.exit_code ?? end?.exit_code,
      signal: failure?.signal ?? end?.signal,
      cause: end?.cause,
    },
  };
}

function warnOfExpiry(operation: NmdcOperation, report: Report, context: CallContext): void {
  const expiresMs = operation.expire_time ? utcMs(operation.expire_time) : undefined;
  if (expiresMs === undefined || expiresMs - context.clock.now() > expiryWarningMs) return;
  context.log.warn(
    { jobId: report.job, opId: operation.id, expires: new Date(expiresMs).toISOString() },
    "an operation is near its end, the API may delete it",
  );
}
