/** State reports of the holder: each applied once, in order, fenced by epoch; an end is final. */
import { failpoint } from "../../common/failpoint.ts";
import { asFault, isFault } from "../../common/fault.ts";
import type { JsonObject } from "../../common/json.ts";
import type { Failure, JobState } from "../../jobs/states.ts";
import { isFinal, transitions } from "../../jobs/transitions.ts";
import { statusOf } from "../../jobs/status.ts";
import type { Report, ReportResult } from "../../wire/agent-api.ts";
import type { OutputFile } from "../../wire/common.ts";
import type { HubContext } from "../context.ts";
import type { OperationDocument } from "../jobs/document.ts";
import { idsPerQuery, jobColumns } from "../jobs/rows.ts";
import { JobChanges, parsedHold, type StateChange } from "../jobs/changes.ts";
import { writeChanges } from "../jobs/lifecycle.ts";
import { together } from "../store/together.ts";
import type { JobRow } from "../store/tables.ts";
import type { Tx, Write } from "../store/types.ts";
import { operationWrites, readOperations } from "./claims.ts";
import { settleOrders } from "./end-held.ts";
import { capped } from "./http.ts";
import { countManifest, storeManifest } from "./manifest.ts";
import type { Site } from "./synchronize.ts";

/** What a hook returned is kept in the event stream up to this size, bytes. */
const eventDataBytes = 16_384;
/** A report with fewer outputs has all of them: sites tell more than that in several, and the last of those is full. */
const manyOutputs = 1_000;

type Outcome = Pick<ReportResult, "outcome" | "expected_seq" | "detail">;

/**
 * Applies reports in their order, in one transaction; one result per report. When that fails for another reason than the database
 * being away, each job is tried alone, so that one bad report does not keep back the others.
 */
export async function applyReports(ctx: HubContext, site: Site, reports: readonly Report[]): Promise<ReportResult[]> {
  try {
    const results = await ctx.store.transaction((tx) => applyAll(ctx, tx, site, reports));
    await failpoint("hub.after-reports");
    noteRefusals(ctx, site, results);
    return results;
  } catch (error) {
    if (isFault(error, "STORE")) throw error;
    ctx.log.error({ err: error, site: site.siteId }, "a batch of reports could not be applied; trying job by job");
  }
  const results = new Map<Report, ReportResult>();
  for (const group of byJob(reports)) {
    try {
      const some = await ctx.store.transaction((tx) => applyAll(ctx, tx, site, group));
      for (const [index, report] of group.entries()) {
        const result = some[index];
        if (result) results.set(report, result);
      }
    } catch (error) {
      if (isFault(error, "STORE")) throw error;
      const detail = asFault(error).message;
      for (const report of group) results.set(report, { ...keyOf(report), outcome: "refused", detail });
    }
  }
  const all = reports.flatMap((report) => results.get(report) ?? []);
  noteRefusals(ctx, site, all);
  return all;
}

/** Who writes what is not his to write, of a claim that is over or was never his, is on record. */
function noteRefusals(ctx: HubContext, site: Site, results: readonly ReportResult[]): void {
  for (const { job, epoch, seq, outcome, detail } of results) {
    if (outcome !== "fenced" && outcome !== "refused") continue;
    const data = { site: site.siteId, actor: site.actor, jobId: job, epoch, seq, outcome, detail };
    ctx.log.warn(data, `a report of site '${site.siteId}' was not taken: ${outcome}`);
  }
}

async function applyAll(ctx: HubContext, tx: Tx, site: Site, reports: readonly Report[]): Promise<ReportResult[]> {
  const [rows, operations] = await together([
    lockAll(ctx, tx, [...new Set(reports.map((report) => report.job))]),
    readOperations(tx.db, [...new Set(reports.map((report) => report.op_id))]),
  ]);
  const notes = operationNotes(operations);
  const changes = new JobChanges(ctx, tx);
  const results: ReportResult[] = [];
  for (const report of reports) {
    const row = rows.get(report.job);
    const refusal = row ? refusalOf(row, site.siteId, report) : { outcome: "unknown-job" as const };
    if (refusal || !row) {
      results.push({ ...keyOf(report), ...(refusal ?? { outcome: "unknown-job" }) });
      continue;
    }
    const { change, result } = await changeOf(ctx, tx, site, row, report);
    notes.add(row, report, result);
    rows.set(report.job, changes.add(row, change));
    results.push({ ...keyOf(report), outcome: "applied" });
  }
  await together([settleOrders(ctx, tx, changes.ended), writeChanges(ctx, tx, changes, [notes.changed()])]);
  await failpoint("hub.before-reports");
  return results;
}

/** All rows at once, in the order of their ids: two batches never wait for each other in a circle. */
async function lockAll(ctx: HubContext, tx: Tx, ids: readonly string[]): Promise<Map<string, JobRow>> {
  const rows = new Map<string, JobRow>();
  const sorted = ids.toSorted();
  for (let start = 0; start < sorted.length; start += idsPerQuery) {
    const query = tx.db
      .selectFrom("jobs")
      .select(jobColumns)
      .where("id", "in", sorted.slice(start, start + idsPerQuery))
      .orderBy("id");
    const found = await (ctx.store.kind === "postgres" ? query.forUpdate() : query).execute();
    for (const row of found) rows.set(row.id, row);
  }
  return rows;
}

/** Why a report is not applied; undefined when it is. */
function refusalOf(row: JobRow, siteId: string, report: Report): Outcome | undefined {
  if (row.site_id !== siteId || row.epoch !== report.epoch) {
    return {
      outcome: "fenced",
      detail: `epoch ${row.epoch} is held by ${row.site_id === null ? "nobody" : `'${row.site_id}'`}`,
    };
  }
  if (report.seq <= row.report_seq) return { outcome: "duplicate" };
  if (report.seq > row.report_seq + 1) return { outcome: "gap", expected_seq: row.report_seq + 1 };
  const detail = contradiction(row, report);
  return detail === undefined ? undefined : { outcome: "refused", detail };
}

function contradiction(row: JobRow, report: Report): string | undefined {
  const from = row.state as JobState;
  if (isFinal(from)) return `the job ended as ${from}`;
  if (report.op_id !== row.op_id) return `operation '${report.op_id}' is not that of this claim`;
  if (report.attempt < row.attempt) return `attempt ${report.attempt} is over; now ${row.attempt}`;
  if (report.done && !isFinal(report.state)) return `'done' needs a final state, not ${report.state}`;
  if (!isReachable(from, report.state)) return `a job in state '${from}' cannot go to '${report.state}'`;
  return undefined;
}

/** True when the table has a way: a holder may leave out steps that it never had time to report. */
export function isReachable(from: JobState, to: JobState): boolean {
  if (from === to) return true;
  if (isFinal(from)) return false;
  if (to === "FAILED" || to === "CANCELLED") return true;
  const seen = new Set<JobState>([from]);
  const queue: JobState[] = [from];
  for (let state = queue.shift(); state !== undefined; state = queue.shift()) {
    for (const next of transitions[state]) {
      if (next === to) return true;
      if (!seen.has(next)) {
        seen.add(next);
        queue.push(next);
      }
    }
  }
  return false;
}

interface Change {
  readonly change: StateChange;
  /** Of a job that ended. */
  readonly result: JsonObject | undefined;
}

async function changeOf(ctx: HubContext, tx: Tx, site: Site, row: JobRow, report: Report): Promise<Change> {
  const final = isFinal(report.state);
  const cancelling = parsedHold(row)?.kind === "cancelling" ? parsedHold(row) : undefined;
  const hold = report.hold ?? (final ? undefined : cancelling) ?? null;
  const { outputs } = report;
  const events = outputs === undefined ? {} : { events: [await storeManifest(ctx, tx, row, outputs, site.actor)] };
  const result = final ? resultOf(report, await outputsOf(tx, row, outputs ?? [])) : undefined;
  const change: StateChange = {
    state: report.state,
    phase: report.phase,
    hold,
    actor: site.actor,
    at: Math.min(Date.parse(report.at), ctx.clock.now()),
    ...(report.failure === undefined ? {} : { failure: report.failure as Failure }),
    ...events,
    columns: {
      bound: 1,
      lease_expires_at: null,
      report_seq: report.seq,
      attempt: report.attempt,
      ...(report.end === undefined ? {} : { attempt_end: JSON.stringify(report.end) }),
      ...(result === undefined ? {} : { result: JSON.stringify(result) }),
    },
    data: eventData(report),
  };
  return { change, result };
}

/** Outputs as the result of a job lists them: very many are told in several reports, and lie in the manifest alone. */
async function outputsOf(tx: Tx, row: JobRow, told: readonly OutputFile[]): Promise<JsonObject> {
  const count = told.length < manyOutputs ? told.length : await countManifest(tx.db, row.id);
  if (count > told.length) return { outputs: [], truncated: true, count };
  return { outputs: told.map((output) => ({ ...output })) };
}

function eventData(report: Report): JsonObject {
  return {
    reported_at: report.at,
    seq: report.seq,
    epoch: report.epoch,
    ...(report.message === undefined ? {} : { message: report.message }),
    ...(report.end === undefined ? {} : { end: { ...report.end } as JsonObject }),
    ...(report.data === undefined ? {} : { data: capped(report.data as JsonObject, eventDataBytes) }),
  };
}

interface OperationNotes {
  add(row: JobRow, report: Report, result: JsonObject | undefined): void;
  /** To be written with the jobs. */
  changed(): Write;
}

/** What NMDC readers see: the metadata rule of design and, at the end, the result. Read and written once for all reports of a call. */
function operationNotes(documents: Map<string, OperationDocument>): OperationNotes {
  const changed = new Set<string>();
  return {
    add(row, report, result) {
      const doc = row.op_id === null ? undefined : documents.get(row.op_id);
      if (!doc) return;
      documents.set(doc.id, withNote(doc, report, result));
      changed.add(doc.id);
    },
    changed: () => operationWrites([...changed].flatMap((id) => documents.get(id) ?? [])),
  };
}

function withNote(doc: OperationDocument, report: Report, result: JsonObject | undefined): OperationDocument {
  const siteagent = {
    state: report.state,
    status: statusOf(report.state, report.phase, report.hold),
    phase: report.phase,
    attempt: report.attempt,
    seq: report.seq,
    at: report.at,
  };
  return {
    ...doc,
    ...(result === undefined ? {} : { done: true, result }),
    metadata: { ...doc.metadata, siteagent },
  };
}

function resultOf(report: Report, outputs: JsonObject): JsonObject {
  if (report.state === "JOB_FINISHED") return outputs;
  const { failure, end } = report;
  return {
    code: failure?.code ?? (report.state === "CANCELLED" ? "CANCELLED" : "FAILED"),
    message: failure?.message ?? report.message ?? (report.state === "CANCELLED" ? "ended by order" : "the job failed"),
    details: {
      exit_code: failure?.exit_code ?? end?.exit_code ?? null,
      signal: failure?.signal ?? end?.signal ?? null,
      cause: end?.cause ?? null,
    },
  };
}

function byJob(reports: readonly Report[]): Report[][] {
  return [...Map.groupBy(reports, (report) => report.job).values()];
}

function keyOf(report: Report): Pick<ReportResult, "job" | "epoch" | "seq"> {
  return { job: report.job, epoch: report.epoch, seq: report.seq };
}
