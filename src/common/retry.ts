import type { Fault } from "./fault.ts";

/** Full-jitter backoff: a random wait between `floorMs` and min(cap, base × 2^tries). Figures: agent manual, "Backoff". */
export interface Backoff {
  readonly baseMs: number;
  readonly capMs: number;
}

/** Claims and synchronize. */
export const syncBackoff: Backoff = { baseMs: 1_000, capMs: 60_000 };
/** State reports. */
export const reportBackoff: Backoff = { baseMs: 1_000, capMs: 120_000 };
/** Bytes of logs. */
export const logBackoff: Backoff = { baseMs: 1_000, capMs: 60_000 };
/** One file of a transfer. */
export const transferBackoff: Backoff = { baseMs: 500, capMs: 60_000 };

const floorMs = 100;

/** After a refusal for too many calls that does not say how long to wait. */
const shortestAfterRefusalMs = 1_000;

/** Milliseconds to wait after `failures` failures in a row of which `fault` was the last: what the server asked for, else the policy. */
export function waitAfterMs(
  fault: Fault,
  policy: Backoff,
  failures: number,
  random: () => number = Math.random,
): number {
  const asked = fault.details?.["retry_after_ms"];
  if (typeof asked === "number") return asked;
  const waitMs = backoffMs(policy, failures, random);
  return fault.code === "RATE_LIMITED" ? Math.max(shortestAfterRefusalMs, waitMs) : waitMs;
}

/** Milliseconds to wait after `failures` (1, 2, …) failures in a row; `random` in [0, 1). */
export function backoffMs(policy: Backoff, failures: number, random: () => number = Math.random): number {
  const ceiling = Math.min(policy.capMs, policy.baseMs * 2 ** Math.min(failures - 1, 30));
  return Math.max(floorMs, Math.round(random() * ceiling));
}
