// Placing reads on a genome: seeds of `seed` bases are looked up in an index, each hit proposes a place (a diagonal), and the
// whole read is compared there. No gaps: a read across an insertion or deletion is placed only if it still fits.
import { reverseComplementCodes, rounded, unknownBase } from "./sequence.mjs";

/** Calls `visit(word, start)` for every run of `seed` known bases; `word` packs two bits a base, so seed ≤ 15. */
function forEachSeed(bases, seed, visit) {
  const mask = 2 ** (2 * seed) - 1;
  let word = 0;
  let known = 0;
  for (let at = 0; at < bases.length; at += 1) {
    if (bases[at] === unknownBase) {
      known = 0;
      continue;
    }
    word = ((word << 2) | bases[at]) & mask;
    known += 1;
    if (known >= seed) visit(word, at - seed + 1);
  }
}

/** An index of the forward strand; places of one word form a chain from `last` through `previous`. */
export function buildIndex(genome, seed) {
  const last = new Map();
  const previous = new Int32Array(genome.length).fill(-1);
  forEachSeed(genome, seed, (word, start) => {
    previous[start] = last.get(word) ?? -1;
    last.set(word, start);
  });
  return { genome, seed, last, previous };
}

function candidates(index, bases) {
  const starts = new Set();
  forEachSeed(bases, index.seed, (word, offset) => {
    for (let place = index.last.get(word) ?? -1; place >= 0; place = index.previous[place]) {
      const start = place - offset;
      if (start >= 0 && start + bases.length <= index.genome.length) starts.add(start);
    }
  });
  return starts;
}

function mismatchesAt(genome, bases, start, limit) {
  let mismatches = 0;
  for (let at = 0; at < bases.length; at += 1) {
    const base = bases[at];
    const there = genome[start + at];
    if (base !== there && base !== unknownBase && there !== unknownBase) {
      mismatches += 1;
      if (mismatches > limit) return undefined;
    }
  }
  return mismatches;
}

/**
 * The best place of a read: `{kind: "placed", start, strand, mismatches}` with `start` from 0 on the forward strand,
 * `{kind: "ambiguous"}` when two places are equally good, `{kind: "unplaced"}` otherwise. Unknown bases of the read do not
 * count; at most `maxMismatch` (a share) of the known ones may differ, and at least half of the read must be known.
 */
export function placeRead(index, bases, { maxMismatch }) {
  const known = bases.reduce((count, base) => count + (base === unknownBase ? 0 : 1), 0);
  if (known * 2 < bases.length) return { kind: "unplaced" };
  let best;
  let rivals = 0;
  let limit = Math.floor(known * maxMismatch);
  for (const [strand, oriented] of [
    ["+", bases],
    ["-", reverseComplementCodes(bases)],
  ]) {
    for (const start of candidates(index, oriented)) {
      const mismatches = mismatchesAt(index.genome, oriented, start, limit);
      if (mismatches === undefined) continue;
      if (best !== undefined && mismatches === best.mismatches) {
        rivals += 1;
        continue;
      }
      best = { kind: "placed", start, strand, mismatches };
      rivals = 0;
      limit = mismatches;
    }
  }
  if (best === undefined) return { kind: "unplaced" };
  return rivals > 0 ? { kind: "ambiguous" } : best;
}

/** How many reads lie over each position of the genome; built from places, read once at the end. */
export class Depth {
  #steps;

  constructor(length) {
    this.#steps = new Int32Array(length + 1);
  }

  add(start, length) {
    this.#steps[start] += 1;
    this.#steps[start + length] -= 1;
  }

  /** Depth by position, from 0. */
  positions() {
    const depth = new Int32Array(this.#steps.length - 1);
    let current = 0;
    for (let at = 0; at < depth.length; at += 1) {
      current += this.#steps[at];
      depth[at] = current;
    }
    return depth;
  }
}

/** Least, mean and greatest depth, and the shares of positions covered at least once and five times. */
export function summarizeDepth(depth) {
  let [min, max, sum, covered, covered5] = [depth[0] ?? 0, 0, 0, 0, 0];
  for (const value of depth) {
    if (value < min) min = value;
    if (value > max) max = value;
    sum += value;
    if (value >= 1) covered += 1;
    if (value >= 5) covered5 += 1;
  }
  return {
    min,
    mean: rounded(sum / depth.length),
    max,
    covered_positions: covered,
    breadth: rounded(covered / depth.length, 6),
    breadth_5x: rounded(covered5 / depth.length, 6),
  };
}

/** Rows `{start, end, min, mean, max, covered, gc}` for windows of `size` positions; start and end count from 1, both included. */
export function windows(depth, genome, size) {
  const rows = [];
  for (let from = 0; from < depth.length; from += size) {
    const to = Math.min(from + size, depth.length);
    const { min, mean, max, covered_positions: covered } = summarizeDepth(depth.subarray(from, to));
    const part = genome.subarray(from, to);
    const known = part.reduce((count, base) => count + (base === unknownBase ? 0 : 1), 0);
    const gc = part.reduce((count, base) => count + (base === 1 || base === 2 ? 1 : 0), 0);
    rows.push({ start: from + 1, end: to, min, mean, max, covered, gc: known === 0 ? 0 : rounded(gc / known) });
  }
  return rows;
}
