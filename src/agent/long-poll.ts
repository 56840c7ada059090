import type { SyncResult } from "../central/types.ts";

/** Below the minute after which balancers usually cut. */
const longestHoldMs = 50_000;
/** A shorter hold is not worth asking for: then plain polls. */
const shortestHoldMs = 5_000;
/** After so long the longest hold is tried again: the proxy may be another one. */
const retryAfterMs = 600_000;

const shortestMs = 1_000;
const longestMs = 900_000;

/**
 * How long central may hold a synchronize. What lies between may cut such calls or swallow their answers: when one brings no answer
 * but the plain call after it does, the hold is halved, down to plain polls. That costs latency and nothing else.
 */
export class LongPoll {
  #limitMs = longestHoldMs;
  #shortenedAt = 0;
  #suspect = false;

  /** Milliseconds that the next call may be held; 0 = ask for an answer at once. `nowMs` is monotonic. */
  allowedMs(nowMs: number): number {
    if (this.#suspect) return 0;
    if (nowMs - this.#shortenedAt >= retryAfterMs) this.#limitMs = longestHoldMs;
    return this.#limitMs;
  }

  /** A held call brought no answer: the next one asks for it at once and tells whether central was away. */
  heldInVain(): void {
    this.#suspect = true;
  }

  answered(nowMs: number): void {
    if (!this.#suspect) return;
    this.#suspect = false;
    this.#shortenedAt = nowMs;
    this.#limitMs = this.#limitMs / 2 < shortestHoldMs ? 0 : this.#limitMs / 2;
  }

  /** The plain call after it failed as well: the hold was not to blame. */
  away(): void {
    this.#suspect = false;
  }
}

/**
 * Milliseconds until the next round. `heldMs`: how long central held the call (undefined = it was not asked to); `nextHoldMs`: how long it
 * may hold the next one; `pollMs`: the site's pace of plain polls.
 */
export function nextWaitMs(
  answer: SyncResult,
  call: { readonly heldMs: number | undefined; readonly nextHoldMs: number; readonly pollMs: number },
): number {
  if (call.nextHoldMs > 0 && answer.session_current) {
    // After a call that was not held one that is follows at once, or nobody would listen meanwhile. One that was to be held and came back
    // at once with nothing to tell is not asked again as fast as it answers.
    const news = answer.assign.length + answer.orders.length + answer.fenced.length > 0;
    if (call.heldMs === undefined) return 0;
    return Math.max(Math.min(answer.next_sync_ms, longestMs), news ? 0 : shortestMs - call.heldMs);
  }
  const interval = Math.min(Math.max(answer.next_sync_ms, call.pollMs, shortestMs), longestMs);
  return interval * (0.85 + Math.random() * 0.3);
}
