/** Answers of launchers about attempts one by one: what goes wrong with one costs the others nothing. */
import { asFault } from "../common/fault.ts";
import type { AttemptRef, AttemptStatus, StopResult } from "./types.ts";

/** Nothing could be asked. */
export function unreachable(error: unknown): AttemptStatus {
  return { state: "unknown", why: "unreachable", raw: asFault(error).message };
}

export function statusOfEach(
  refs: readonly AttemptRef[],
  statusOf: (ref: AttemptRef) => Promise<AttemptStatus>,
): Promise<readonly AttemptStatus[]> {
  return Promise.all(refs.map((ref) => statusOf(ref).catch(unreachable)));
}

/** `statuses`: how it was with each a moment ago. */
export function stopEach(
  refs: readonly AttemptRef[],
  statuses: readonly AttemptStatus[],
  stop: (ref: AttemptRef, status: AttemptStatus | undefined) => Promise<StopResult>,
): Promise<readonly StopResult[]> {
  return Promise.all(
    refs.map((ref, index) =>
      stop(ref, statuses[index]).catch(
        (error: unknown) => ({ state: "unknown", why: asFault(error).message }) as const,
      ),
    ),
  );
}
