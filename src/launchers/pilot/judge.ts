/**
 * What an attempt's evidence, its node's events and the scheduler's word about the allocation say together: pure. An end that came with the
 * allocation's is nobody's fault and no try; that nothing of an attempt is left is proven by its recorder, by the node agent, or by the
 * scheduler's word that the allocation is over.
 */
import { isoTime } from "../../common/clock.ts";
import type { AttemptEnd, EndCause } from "../../jobs/states.ts";
import { endFromRecord, type Evidence, type ExitRecord } from "../../runner/evidence.ts";
import type { AttemptStatus, ProofTier } from "../types.ts";

/** What is known of an attempt that was handed to a node, at one moment. */
export interface PilotFacts {
  readonly evidence: Evidence;
  /** The node agent or the recorder ended it for the allocation's sake. */
  readonly lost: boolean;
  /** The start guard is there because an order to stop took it. */
  readonly withdrawn: boolean;
  /** What the node agent said of this attempt. */
  readonly word: { readonly kind: "ended" | "gone" | "failed"; readonly why?: string } | undefined;
  readonly node: {
    readonly host: string;
    /** By the node's clock: the last sign that all was well, and when it began to end everything. */
    readonly calmAtMs: number | undefined;
    readonly ending: { readonly atMs: number; readonly why: string } | undefined;
  };
  /** The scheduler's proof that nothing of the allocation runs any more; for how long, milliseconds. */
  readonly over: { readonly why: string; readonly forMs: number } | undefined;
  readonly nowMs: number;
}

export type PilotJudgement =
  | AttemptStatus
  /** It was not started there and never will be: it may be handed to another node. */
  | { readonly state: "free" };

/** Signals reach the processes of an allocation one after the other: the node agent may get its own a little later. */
const orderMs = 3_000;
/** A sign of life so long after an end tells that the end did not come with the allocation's. */
export const calmAfterMs = 1_000;

export function judgePilot(facts: PilotFacts, patience: { readonly recordMs: number }): PilotJudgement {
  const { evidence, word, over } = facts;
  const record = evidence.rc !== undefined && evidence.rc !== "damaged" ? evidence.rc : undefined;
  if (record) return recorded(facts, record);
  const begun = evidence.guardAtMs !== undefined;
  if (facts.withdrawn) return { state: "absent" };
  if (word?.kind === "gone")
    return ended(plain(facts, "status-lost", "its recorder was killed: no exit record"), "subreaper");
  if (word?.kind === "failed")
    return ended(plain(facts, "infrastructure", `it could not be started: ${word.why ?? ""}`), "never-started");
  if (word?.kind === "ended" && evidence.directory === "missing")
    return ended(
      { ...plain(facts, "status-lost", "the attempt directory is missing"), evidence: "missing" },
      "subreaper",
    );
  if (!over) return begun || word?.kind === "ended" ? running(facts) : { state: "queued" };
  // Shared file systems show late what was written last.
  if (over.forMs < patience.recordMs) return begun ? running(facts) : { state: "queued" };
  if (!begun && evidence.directory === "present") return { state: "free" };
  return ended(plain(facts, "infrastructure", `the allocation was lost: ${over.why}`), "scheduler");
}

function recorded(facts: PilotFacts, record: ExitRecord): PilotJudgement {
  const { evidence, over } = facts;
  const end = endFromRecord(record, startedAtMs(evidence), evidence);
  if (record.kind === "launch") return ended(end, "never-started");
  const proven = record.alone || evidence.gone;
  if (!proven && !over) return running(facts); // the node agent ends what is left
  const tier = proven ? "subreaper" : "scheduler";
  if (end.cause === "timeout" || (end.cause === "exit" && end.exit_code === 0)) return ended(end, tier);
  if (end.cause === "cancelled") {
    if (!facts.lost) return ended(end, tier);
    const why = facts.node.ending?.why ?? over?.why ?? "the node agent was killed";
    return ended({ ...end, cause: "infrastructure", message: `the allocation ended: ${why}` }, tier);
  }
  return withAllocation(facts, record, end, tier);
}

/** It failed by itself, or the scheduler's signals reached it before anybody could say so. */
function withAllocation(facts: PilotFacts, record: ExitRecord, end: AttemptEnd, tier: ProofTier): PilotJudgement {
  const { calmAtMs, ending } = facts.node;
  if (calmAtMs !== undefined && calmAtMs >= record.atMs + calmAfterMs && !(ending && ending.atMs <= record.atMs))
    return ended(end, tier);
  const isSignal = record.kind === "signal" || record.value > 128;
  if (ending) {
    if (record.atMs < ending.atMs - orderMs) return ended(end, tier);
    return ended({ ...end, cause: "infrastructure", message: `the allocation ended: ${ending.why}` }, tier);
  }
  if (!facts.over) return running(facts);
  if (!isSignal) return ended(end, tier);
  return ended({ ...end, cause: "infrastructure", message: `the allocation was lost: ${facts.over.why}` }, tier);
}

function startedAtMs({ job }: Evidence): number | undefined {
  return job === undefined || job === "damaged" ? undefined : job.atMs;
}

function running(facts: PilotFacts): AttemptStatus {
  const since = startedAtMs(facts.evidence) ?? facts.evidence.guardAtMs ?? facts.nowMs;
  return { state: "running", since: isoTime(since), ...(facts.node.host === "" ? {} : { node: facts.node.host }) };
}

function plain(facts: PilotFacts, cause: EndCause, message: string): AttemptEnd {
  const sinceMs = startedAtMs(facts.evidence);
  const started = sinceMs === undefined ? {} : { started_at: isoTime(sinceMs) };
  return { cause, evidence: "queue", message: message.slice(0, 500), ...started, ended_at: isoTime(facts.nowMs) };
}

function ended(end: AttemptEnd, tier: ProofTier): AttemptStatus {
  return { state: "ended", end, remaining: [], tier };
}
