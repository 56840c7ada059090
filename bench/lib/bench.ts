/** What a benchmark is: it measures something of ours beside a limit or a peer in the same run, and says how often and how widely. */
export interface Figure {
  /** What was measured, with its unit: `jobs done, 1/s`. */
  readonly what: string;
  /** One value for each repetition (or each operation, for latencies); the table shows median, least, greatest and p99. */
  readonly values: readonly number[];
  /** Same measure of a peer or the machine, taken in the same run. */
  readonly beside?: { readonly what: string; readonly values: readonly number[] };
  /** What must hold, in words, and whether it did. */
  readonly goal?: { readonly text: string; readonly held: boolean };
}

export interface BenchOptions {
  /** Small numbers, to see that the benchmark works; its figures are not to be published. */
  readonly quick: boolean;
  /** Progress for the person who waits. */
  readonly say: (line: string) => void;
}

/** A file `bench/NAME.ts` exports `bench`. What it cannot measure here (no PostgreSQL, say) it names with `say` and leaves out. */
export interface Bench {
  /** What is done, in a sentence or two: numbers of jobs, sizes, what the peer does. */
  readonly about: string;
  run(options: BenchOptions): Promise<readonly Figure[]>;
}

/** The value below which `share` (0–1) of the values lie; the nearest rank. @throws RangeError without values. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const found = sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
  if (found === undefined) throw new RangeError("no values");
  return found;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}
