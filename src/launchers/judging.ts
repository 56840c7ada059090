/** What the judges of attempts under a scheduler have in common: pure. */
import { isoTime } from "../common/clock.ts";
import type { AttemptEnd, EndCause } from "../jobs/states.ts";
import type { Evidence, ExitRecord } from "../runner/evidence.ts";
import type { AttemptStatus, ProofTier } from "./types.ts";

/** The exit record, if it can be read for one. */
export function recordOf({ rc }: Evidence): ExitRecord | undefined {
  return rc === "damaged" ? undefined : rc;
}

/** When the command began, by the clock of where it ran. */
export function startedAtMs({ job }: Evidence): number | undefined {
  return job === undefined || job === "damaged" ? undefined : job.atMs;
}

/** An end that no exit record tells of. `evidence`: whose word it is. */
export function toldEnd(
  how: { readonly cause: EndCause; readonly message: string; readonly evidence: string },
  when: { readonly startedAtMs: number | undefined; readonly nowMs: number },
): AttemptEnd {
  const started = when.startedAtMs === undefined ? {} : { started_at: isoTime(when.startedAtMs) };
  return { ...how, message: how.message.slice(0, 500), ...started, ended_at: isoTime(when.nowMs) };
}

/** Nothing of it is left. */
export function endedBy(tier: ProofTier, end: AttemptEnd): AttemptStatus {
  return { state: "ended", end, remaining: [], tier };
}
