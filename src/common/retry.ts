/** Full-jitter backoff: a random wait between `floorMs` and min(cap, base × 2^tries). Figures: agent manual, "Backoff". */
export interface Backoff {
  readonly baseMs: number;
  readonly capMs: number;
}

/** Claims and synchronize. */
export const syncBackoff: Backoff = { baseMs: 1_000, capMs: 60_000 };
/** State reports. */
export const reportBackoff: Backoff = { baseMs: 1_000, capMs: 120_000 };
/** One file of a transfer. */
export const transferBackoff: Backoff = { baseMs: 500, capMs: 60_000 };

const floorMs = 100;

/** Milliseconds to wait after `failures` (1, 2, …) failures in a row; `random` in [0, 1). */
export function backoffMs(policy: Backoff, failures: number, random: () => number = Math.random): number {
  const ceiling = Math.min(policy.capMs, policy.baseMs * 2 ** Math.min(failures - 1, 30));
  return Math.max(floorMs, Math.round(random() * ceiling));
}
