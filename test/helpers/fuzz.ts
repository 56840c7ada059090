import type { Parameters } from "fast-check";

const factor = Number(process.env["TEST_FUZZ"] ?? 1);

/** Options of a test that fuzzes: time for a loaded machine, and for a long search. */
export const fuzzing = { timeout: 60_000 * Math.max(1, factor) } as const;

/**
 * How many runs a property gets: `numRuns`, or `TEST_FUZZ` times as many for a long search. A failure prints seed and path;
 * `TEST_FUZZ_SEED` gives the seed again.
 */
export function fuzz(numRuns: number): Parameters<unknown> {
  const seed = process.env["TEST_FUZZ_SEED"];
  return { numRuns: Math.round(numRuns * factor), ...(seed === undefined ? {} : { seed: Number(seed) }) };
}
