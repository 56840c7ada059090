import type { Clock } from "../common/clock.ts";

/**
 * Times until which something waits, as journaled in wall time. Each is looked at once by the wall clock; from then on monotonic time
 * counts, so that a clock that is set neither shortens nor lengthens a wait (fault H1).
 */
export class Deadlines {
  readonly #clock: Pick<Clock, "now" | "monotonic">;
  readonly #due = new Map<string, { readonly at: string; readonly dueMs: number }>();

  constructor(clock: Pick<Clock, "now" | "monotonic">) {
    this.#clock = clock;
  }

  /** Milliseconds left until `at` (ISO 8601), 0 … `mostMs`, of a job's wait for its next attempt or the next try of its step. */
  leftMs(job: string, wait: "attempt" | "try", at: string, mostMs: number): number {
    const key = `${wait} ${job}`;
    const now = this.#clock.monotonic();
    let known = this.#due.get(key);
    if (known?.at !== at) {
      const leftMs = Math.min(Math.max(0, Date.parse(at) - this.#clock.now()), mostMs);
      known = { at, dueMs: now + leftMs };
      this.#due.set(key, known);
    }
    return Math.max(0, known.dueMs - now);
  }

  /** The job is over. */
  forget(job: string): void {
    for (const wait of ["attempt", "try"]) this.#due.delete(`${wait} ${job}`);
  }
}
