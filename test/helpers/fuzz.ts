import fc, { type Parameters } from "fast-check";

const longer = process.env["TEST_FUZZ"];
const given = process.env["TEST_FUZZ_SEED"];
const factor = Number(longer ?? 1);

/** Of runs that are no search: the same every time, so that a change fails by what it does and not by the day. */
const usualSeed = 20_261_122;
if (given !== undefined) fc.configureGlobal({ seed: Number(given) });
else if (longer === undefined) fc.configureGlobal({ seed: usualSeed });

/** Options of a test that fuzzes: time for a loaded machine, and for a long search. */
export const fuzzing = { timeout: 60_000 * Math.max(1, factor) } as const;

/**
 * How many runs a property gets: `numRuns`, or `TEST_FUZZ` times as many, from a seed that is new each time, for a long search.
 * A failure prints seed and path; `TEST_FUZZ_SEED` gives the seed again.
 */
export function fuzz(numRuns: number): Parameters<unknown> {
  return { numRuns: Math.round(numRuns * factor) };
}
