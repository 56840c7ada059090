/**
 * What an attempt's evidence, its node's events and the scheduler's word about the allocation say together: pure. An end that came with the
 * allocation's is nobody's fault and no try; that nothing of an attempt is left is proven by its recorder, by the node agent, or by the
 * scheduler's word that the allocation is over.
 */
import { isoTime } from "../../common/clock.ts";
import { formatDuration } from "../../common/units.ts";
import type { AttemptEnd, EndCause } from "../../jobs/states.ts";
import { endFromRecord, type Evidence, type ExitRecord } from "../../runner/evidence.ts";
import { endedBy, recordOf, startedAtMs, toldEnd } from "../judging.ts";
import type { AttemptStatus, ProofTier } from "../types.ts";

/** What is known of an attempt that was handed to a node, at one moment. */
export interface PilotFacts {
  readonly evidence: Evidence;
  /** The node agent or the recorder ended it for the allocation's sake. */
  readonly lost: boolean;
  /** The start guard is there because an order to stop took it. */
  readonly withdrawn: boolean;
  /** The limit that it had where it has none of its own, milliseconds: what an allocation has for one attempt. */
  readonly lentMs: number | undefined;
  /** Further nodes have not said yet that nothing of it is left there. */
  readonly held: boolean;
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
  const judged = judgeFirst(facts, patience);
  return judged.state === "ended" && facts.held && !facts.over ? running(facts) : judged;
}

/** By what is known of the node that started it. */
function judgeFirst(facts: PilotFacts, patience: { readonly recordMs: number }): PilotJudgement {
  const { evidence, word, over } = facts;
  const record = recordOf(evidence);
  if (record) return recorded(facts, record);
  const begun = evidence.guardAtMs !== undefined;
  if (facts.withdrawn) return { state: "absent" };
  if (word?.kind === "gone")
    return endedBy("subreaper", plain(facts, "status-lost", "its recorder was killed: no exit record"));
  if (word?.kind === "failed")
    return endedBy("never-started", plain(facts, "infrastructure", `it could not be started: ${word.why ?? ""}`));
  if (word?.kind === "ended" && evidence.directory === "missing") {
    const end = plain(facts, "status-lost", "the attempt directory is missing");
    return endedBy("subreaper", { ...end, evidence: "missing" });
  }
  if (!over) return begun || word?.kind === "ended" ? running(facts) : { state: "queued" };
  // Shared file systems show late what was written last.
  if (over.forMs < patience.recordMs) return begun ? running(facts) : { state: "queued" };
  if (!begun && evidence.directory === "present") return { state: "free" };
  return endedBy("scheduler", plain(facts, "infrastructure", `the allocation was lost: ${over.why}`));
}

function recorded(facts: PilotFacts, record: ExitRecord): PilotJudgement {
  const { evidence, over } = facts;
  const end = endFromRecord(record, startedAtMs(evidence) ?? evidence.guardAtMs, evidence);
  if (record.kind === "launch") return endedBy("never-started", end);
  const proven = record.alone || evidence.gone;
  if (!proven && !over) return running(facts); // the node agent ends what is left
  const tier = proven ? "subreaper" : "scheduler";
  if (end.cause === "timeout" && facts.lentMs !== undefined)
    return endedBy(tier, { ...end, message: tooLong(facts.lentMs) });
  if (end.cause === "timeout" || (end.cause === "exit" && end.exit_code === 0)) return endedBy(tier, end);
  if (end.cause === "cancelled") {
    if (!facts.lost) return endedBy(tier, end);
    const why = facts.node.ending?.why ?? over?.why ?? "the node agent was killed";
    return endedBy(tier, { ...end, cause: "infrastructure", message: `the allocation ended: ${why}` });
  }
  return withAllocation(facts, record, end, tier);
}

/** It failed by itself, or the scheduler's signals reached it before anybody could say so. */
function withAllocation(facts: PilotFacts, record: ExitRecord, end: AttemptEnd, tier: ProofTier): PilotJudgement {
  const { calmAtMs, ending } = facts.node;
  if (calmAtMs !== undefined && calmAtMs >= record.atMs + calmAfterMs && !(ending && ending.atMs <= record.atMs))
    return endedBy(tier, end);
  const isSignal = record.kind === "signal" || record.value > 128;
  if (ending) {
    if (record.atMs < ending.atMs - orderMs) return endedBy(tier, end);
    return endedBy(tier, { ...end, cause: "infrastructure", message: `the allocation ended: ${ending.why}` });
  }
  if (!facts.over) return running(facts);
  if (!isSignal) return endedBy(tier, end);
  return endedBy(tier, { ...end, cause: "infrastructure", message: `the allocation was lost: ${facts.over.why}` });
}

function tooLong(lentMs: number): string {
  return `it has no walltime, and did not end within the ${formatDuration(lentMs)} that an allocation has for one attempt`;
}

function running(facts: PilotFacts): AttemptStatus {
  const since = startedAtMs(facts.evidence) ?? facts.evidence.guardAtMs ?? facts.nowMs;
  return { state: "running", since: isoTime(since), ...(facts.node.host === "" ? {} : { node: facts.node.host }) };
}

function plain(facts: PilotFacts, cause: EndCause, message: string): AttemptEnd {
  const when = { startedAtMs: startedAtMs(facts.evidence), nowMs: facts.nowMs };
  return toldEnd({ cause, message, evidence: "queue" }, when);
}
