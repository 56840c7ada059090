/**
 * What an attempt's own evidence and the scheduler's word say together. Pure. The exit record is the best source for the command's exit
 * code, the scheduler the best for why a job died; success needs both (rule 0.10 of the reference of schedulers, invariant 2), but for sites
 * that trust their accounting.
 */
import { isoTime } from "../../common/clock.ts";
import type { AttemptEnd, EndCause } from "../../jobs/states.ts";
import { endFromRecord, type Evidence, type ExitRecord } from "../../runner/evidence.ts";
import type { ScheduledStatus, Verdict } from "../../schedulers/types.ts";
import { endedBy, recordOf, startedAtMs, toldEnd } from "../judging.ts";
import type { AttemptStatus } from "../types.ts";

/** Everything that is known of one attempt at one moment. */
export interface Facts {
  readonly evidence: Evidence;
  /** The latest answer; undefined = not asked yet. */
  readonly scheduled: ScheduledStatus | undefined;
  /** We asked the scheduler to cancel it, or would not let it start. */
  readonly ordered: boolean;
  /** For how long, milliseconds by our monotonic clock; each counts only while the scheduler can be asked. undefined = it is not so. */
  readonly overForMs: number | undefined;
  readonly unknownForMs: number | undefined;
  /** Wall time, for ends that nobody dates. */
  readonly nowMs: number;
  /** The site takes the scheduler's word for a success that left no exit record. */
  readonly trustsAccounting?: boolean | undefined;
}

/** How long one source is waited for when the other has spoken; milliseconds. */
export interface Patience {
  /** For the exit record (shared file systems show it late) after the scheduler said that the job is over. */
  readonly recordMs: number;
  /** For the scheduler's word after the exit record. */
  readonly verdictMs: number;
  /** Until a job that is neither in queue nor history and left no exit record counts as lost. */
  readonly lostMs: number;
}

export interface Judgement {
  readonly status: AttemptStatus;
  /** The scheduler's next answer is worth more than usual: an exit record waits for its confirmation. */
  readonly urgent: boolean;
}

/** The reference's defaults (§2.9, §7), a shared file system's 60 s for the record. */
export const defaultPatience: Patience = { recordMs: 60_000, verdictMs: 120_000, lostMs: 30 * 60_000 };

export function judge(facts: Facts, patience: Patience): Judgement {
  const { evidence, scheduled } = facts;
  const record = recordOf(evidence);
  switch (scheduled?.state) {
    case "ended":
      if (scheduled.verdict.neverBegan === true && hasBegun(evidence)) return absent(facts, record, patience);
      return overBy(facts, scheduled.verdict, record, patience);
    case "absent":
      return absent(facts, record, patience);
    case "queued":
      // It has run since that answer; or it was put back into the queue after it ran: its guard lets nothing run again.
      if (record || evidence.job) return { status: running(facts), urgent: record !== undefined };
      return calm(queued(scheduled));
    case "running":
    case "finishing":
      if (record) return { status: running(facts), urgent: true };
      if (scheduled.state === "running" || evidence.job) return calm(running(facts));
      return calm(unknown("not-listed", "the scheduler says that it is over, not how"));
    case "unknown":
    case undefined:
      return unasked(facts, record, patience);
  }
}

function queued({ reason, stuck }: Extract<ScheduledStatus, { state: "queued" }>): AttemptStatus {
  if (stuck !== true) return { state: "queued", ...(reason === undefined ? {} : { reason }) };
  return { state: "queued", stuck, reason: `${reason ?? "held"}: it will not start by itself` };
}

/** Nobody could be asked: a proven success is taken after a while, anything else waits for the scheduler (processes may be left). */
function unasked(facts: Facts, record: ExitRecord | undefined, patience: Patience): Judgement {
  const { scheduled, unknownForMs = 0 } = facts;
  if (record) {
    const end = endOf(facts, record);
    const patient = unknownForMs < patience.verdictMs || end.cause !== "exit" || end.exit_code !== 0;
    if (scheduled === undefined || patient) return { status: running(facts), urgent: true };
    return calm(ended({ ...end, message: "the scheduler could not be asked; the exit record alone tells" }));
  }
  if (facts.evidence.job) return calm(running(facts));
  return calm(unknown("unreachable", scheduled?.state === "unknown" ? scheduled.why : "not asked yet"));
}

function overBy(facts: Facts, verdict: Verdict, record: ExitRecord | undefined, patience: Patience): Judgement {
  if (record) return calm(ended(merged(facts, endOf(facts, record), verdict)));
  const begun = hasBegun(facts.evidence);
  // Jobs that never began can leave no record; those that did may have left one that is not visible here yet.
  // What was ended by order may have lost its recorder with the rest: then there is little to wait for.
  const patientMs = facts.ordered ? Math.min(orderedRecordMs, patience.recordMs) : patience.recordMs;
  const waits = (begun || verdict.kind === "completed") && (facts.overForMs ?? 0) < patientMs;
  if (waits) return calm(running(facts));
  return calm(ended(unrecorded(facts, verdict, begun)));
}

const orderedRecordMs = 5_000;

/** The scheduler does not know it any more. Absence is not evidence: the record tells, or a long time does. */
function absent(facts: Facts, record: ExitRecord | undefined, patience: Patience): Judgement {
  const { evidence, overForMs = 0 } = facts;
  if (record) {
    const end = endOf(facts, record);
    if (overForMs < Math.min(patience.recordMs, patience.verdictMs) && end.cause === "exit" && end.exit_code === 0)
      return { status: running(facts), urgent: true }; // accounting may lag behind the queue
    return calm(ended({ ...end, message: end.message ?? "the scheduler has no record of it; the exit record tells" }));
  }
  const begun = hasBegun(evidence);
  if (!begun && facts.ordered) {
    const end = plain(facts, "cancelled", "cancelled before it started", "queue");
    return calm({ state: "ended", end, remaining: [], tier: "never-started" });
  }
  if (overForMs < patience.lostMs) {
    if (evidence.job) return calm(running(facts));
    return calm(unknown("not-listed", "neither the queue nor the history of the scheduler has it"));
  }
  const what = begun ? "it started and left no exit record" : "it never started";
  return calm(ended(plain(facts, "status-lost", `the scheduler knows nothing of the job any more; ${what}`, "queue")));
}

/** The recorder took the guard: one with our order beside it and no recorder is ours (places.ts, `takeGuard`). */
export function hasBegun(evidence: Evidence): boolean {
  return evidence.guardAtMs !== undefined && (evidence.recorder !== undefined || !evidence.stop);
}

/** Exit record and verdict, where they agree and where they do not. */
function merged(facts: Facts, end: AttemptEnd, verdict: Verdict): AttemptEnd {
  const usage = end.usage ?? usageOf(verdict);
  const both = { ...end, ...(usage ? { usage } : {}) };
  const says = `the scheduler says '${verdict.raw}'`;
  switch (verdict.kind) {
    case "completed":
      return both;
    case "failed":
    case "launch":
      if (end.cause !== "exit" || end.exit_code !== 0) return both;
      return {
        ...both,
        cause: "status-lost",
        evidence: "conflict",
        message: `the exit record says 0, ${says}: not taken for success`,
      };
    case "cancelled":
      if (end.cause === "timeout") return both;
      // It ended by itself before the order reached it.
      if (facts.ordered && end.cause === "exit") return both;
      return { ...both, cause: "cancelled", message: cancelledBy(facts, verdict) };
    case "timeout":
    case "oom":
    case "node":
    case "preempted":
    case "limit":
      return { ...both, cause: causes[verdict.kind], message: says };
  }
}

const causes = {
  timeout: "timeout",
  oom: "oom",
  node: "node",
  preempted: "infrastructure",
  limit: "signal",
} as const satisfies Partial<Record<Verdict["kind"], EndCause>>;

/** The scheduler's word alone: never a success, unless the site says that it is to be trusted and the command was begun. */
function unrecorded(facts: Facts, verdict: Verdict, begun: boolean): AttemptEnd {
  const says = `the scheduler says '${verdict.raw}'`;
  const because = (cause: EndCause, message: string): AttemptEnd => {
    const usage = usageOf(verdict);
    return {
      ...plain(facts, cause, message, verdict.source),
      ...(verdict.exitCode === undefined ? {} : { exit_code: verdict.exitCode }),
      ...(verdict.signal === undefined ? {} : { signal: verdict.signal }),
      ...(verdict.startedAt === undefined ? {} : { started_at: verdict.startedAt }),
      ...(verdict.endedAt === undefined ? {} : { ended_at: verdict.endedAt }),
      ...(usage ? { usage } : {}),
    };
  };
  switch (verdict.kind) {
    case "timeout":
    case "oom":
    case "node":
    case "preempted":
    case "limit":
      return because(causes[verdict.kind], says);
    case "cancelled":
      return because("cancelled", cancelledBy(facts, verdict));
    case "launch":
      return because("launch", says);
    case "failed":
      // Some schedulers call what they deleted killed, or failed.
      if (facts.ordered) return because("cancelled", cancelledBy(facts, verdict));
      if (!begun) return because("launch", `${says}: the job script ended before the command was started`);
      // The guard of a job that ran before refused it: the scheduler had begun it again after it lost the first run.
      if (verdict.exitCode === guardRefused)
        return because("infrastructure", `${says}: it was begun again by the scheduler after its first run was lost`);
      return because(verdict.signal === undefined ? "status-lost" : "signal", `${says}, and there is no exit record`);
    case "completed":
      if (facts.trustsAccounting === true && begun && verdict.exitCode === 0)
        return because("exit", `${says}, and there is no exit record: trusted, as trust_accounting says`);
      return because("status-lost", `${says}, and there is no exit record: not taken for success`);
  }
}

/** Exit code of a recorder whose attempt was started before. */
const guardRefused = 125;

function cancelledBy(facts: Facts, verdict: Verdict): string {
  if (facts.ordered) return "cancelled by an order";
  return `cancelled outside of siteagent${verdict.by === undefined ? "" : ` by ${verdict.by}`}: '${verdict.raw}'`;
}

function endOf(facts: Facts, record: ExitRecord): AttemptEnd {
  return endFromRecord(record, startedAtMs(facts.evidence), facts.evidence);
}

function running(facts: Facts): AttemptStatus {
  const { scheduled } = facts;
  const seen = scheduled?.state === "running" ? scheduled : undefined;
  const sinceMs = startedAtMs(facts.evidence);
  return {
    state: "running",
    since: sinceMs === undefined ? (seen?.since ?? isoTime(facts.nowMs)) : isoTime(sinceMs),
    ...(seen?.suspended === true ? { suspended: true } : {}),
    ...(seen?.nodes === undefined ? {} : { node: seen.nodes }),
  };
}

function plain(facts: Facts, cause: EndCause, message: string, evidence: string): AttemptEnd {
  const when = { startedAtMs: startedAtMs(facts.evidence), nowMs: facts.nowMs };
  return toldEnd({ cause, message, evidence }, when);
}

function usageOf(verdict: Verdict): AttemptEnd["usage"] {
  const { maxRssBytes, cpuSeconds } = verdict.usage ?? {};
  if (maxRssBytes === undefined && cpuSeconds === undefined) return undefined;
  return { max_rss_bytes: maxRssBytes, cpu_seconds: cpuSeconds };
}

function ended(end: AttemptEnd): AttemptStatus {
  return endedBy("scheduler", end);
}

function unknown(why: "unreachable" | "not-listed", raw: string): AttemptStatus {
  return { state: "unknown", why, raw };
}

function calm(status: AttemptStatus): Judgement {
  return { status, urgent: false };
}
