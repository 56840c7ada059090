import type { ScheduledStatus, Verdict } from "../types.ts";
import { wordsOf } from "../text.ts";
import { type ExitStatus, exitFields, refinedKind } from "./exit-status.ts";
import type { QueueRow } from "./squeue.ts";
import type { AccountingRow } from "./sacct.ts";
import { cancelledBy, meaningOf, neverStarts } from "./states.ts";

/** What the queue says of one job or task. */
export function queueStatus(row: QueueRow): ScheduledStatus {
  const meaning = meaningOf(row.state);
  const { restarts } = row;
  switch (meaning.as) {
    case "queued": {
      const reason = [/^(?:PENDING|PD)$/i.test(row.state) ? "" : row.state, row.reason].filter(
        (word) => word !== "" && word !== "None",
      );
      const stuck = meaning.stuck === true || neverStarts(row.reason);
      return {
        state: "queued",
        ...(reason.length === 0 ? {} : { reason: wordsOf(reason.join(": ")) }),
        ...(stuck ? { stuck } : {}),
        restarts,
      };
    }
    case "running":
      return {
        state: "running",
        restarts,
        ...(row.started === undefined ? {} : { since: iso(row.started) }),
        ...(row.nodes === "" ? {} : { nodes: row.nodes }),
        ...(meaning.suspended === true ? { suspended: true } : {}),
      };
    case "finishing":
      return { state: "finishing" };
    case "ended":
      return { state: "ended", verdict: verdictOf(row, row.exit, meaning.kind, { source: "queue" }) };
    default:
      return {
        state: "unknown",
        why: `squeue says '${wordsOf(row.state)}', which is no state that has a meaning here`,
      };
  }
}

export interface ExitSources {
  /** Accounting's exit codes are what they seem. */
  readonly exact: boolean;
  /** What the queue says of the same end, where it still has it. */
  readonly exit: ExitStatus | undefined;
}

/** What accounting says of a job or task that the queue does not have, or that it says has ended; undefined = not over for accounting. */
export function accountingStatus(row: AccountingRow, sources: ExitSources): ScheduledStatus | undefined {
  const meaning = meaningOf(row.state);
  if (meaning.as !== "ended") return undefined;
  const by = cancelledBy(row.state);
  // A step that was killed for its memory leaves a parent that may end with 0 and without its results.
  const starved = row.oomSteps.length > 0 && (meaning.kind === "failed" || meaning.kind === "completed");
  const exit = sources.exit ?? (sources.exact ? row.exit : withoutCode(row.exit, meaning.kind));
  const verdict = verdictOf(row, exit, starved ? "oom" : meaning.kind, {
    source: "accounting",
    ...(by === undefined ? {} : { by }),
  });
  const steps = row.oomSteps.length === 0 ? "" : `; out of memory: step ${row.oomSteps.join(", ")}`;
  const { cpuSeconds, maxRssBytes } = row;
  return {
    state: "ended",
    verdict: { ...verdict, raw: wordsOf(verdict.raw + steps), usage: { cpuSeconds, maxRssBytes } },
  };
}

interface Ended {
  readonly state: string;
  readonly reason: string;
  readonly exit: ExitStatus | undefined;
  readonly started: number | undefined;
  readonly ended: number | undefined;
}

function verdictOf(
  row: Ended,
  status: ExitStatus | undefined,
  base: Verdict["kind"],
  more: Pick<Verdict, "source" | "by">,
): Verdict {
  const kind = refinedKind(base, status);
  const exit = row.exit === undefined ? "" : `${row.exit.code}:${row.exit.signal}`;
  const reason = row.reason === "None" ? "" : row.reason;
  return {
    kind,
    ...exitFields(kind, status),
    raw: wordsOf([row.state, exit, reason].filter(Boolean).join(" ")),
    ...(row.started === undefined ? {} : { startedAt: iso(row.started) }),
    ...(row.ended === undefined ? {} : { endedAt: iso(row.ended) }),
    ...more,
  };
}

/** Signals are told as they are, and so is success. */
function withoutCode(exit: ExitStatus | undefined, kind: Verdict["kind"]): ExitStatus | undefined {
  return exit === undefined || exit.signal > 0 || kind === "completed" ? exit : { ...exit, code: undefined };
}

/** Of an array as a whole: it runs while one task does, and has ended well if all have. */
export function wholeStatus(statuses: readonly ScheduledStatus[]): ScheduledStatus {
  for (const state of ["unknown", "running", "finishing", "queued", "absent"] as const) {
    const found = statuses.find((status) => status.state === state);
    if (found) return found;
  }
  const bad = statuses.find((status) => status.state === "ended" && status.verdict.kind !== "completed");
  return bad ?? statuses[0] ?? { state: "absent" };
}

export function iso(seconds: number): string {
  return new Date(seconds * 1000).toISOString();
}
