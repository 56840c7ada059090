// Counting of k-mers: words of k bases, a word and its reverse complement being one (the smaller of the two stands for both).
import { reverseComplement } from "./sequence.mjs";

/** Calls `visit` with every canonical k-mer of a sequence that has no unknown base, in the order of the sequence. */
export function forEachKmer(sequence, k, visit) {
  const reverse = reverseComplement(sequence);
  let lastUnknown = -1;
  for (let end = 1; end <= sequence.length; end += 1) {
    if (sequence[end - 1] === "N") lastUnknown = end - 1;
    const start = end - k;
    // Also true while fewer than k bases have been seen.
    if (start <= lastUnknown) continue;
    const forward = sequence.slice(start, end);
    const backward = reverse.slice(sequence.length - end, sequence.length - start);
    visit(forward < backward ? forward : backward);
  }
}

/** Adds the canonical k-mers of a sequence to `counts` (word → times seen). */
export function countKmers(sequence, k, counts = new Map()) {
  forEachKmer(sequence, k, (kmer) => counts.set(kmer, (counts.get(kmer) ?? 0) + 1));
  return counts;
}

/** Rows `{times, distinct, inGenome}` by rising number of times seen. */
export function spectrum(counts, genomeKmers) {
  const rows = new Map();
  for (const [kmer, times] of counts) {
    const row = rows.get(times) ?? { times, distinct: 0, inGenome: 0 };
    row.distinct += 1;
    if (genomeKmers.has(kmer)) row.inGenome += 1;
    rows.set(times, row);
  }
  return [...rows.values()].sort((a, b) => a.times - b.times);
}

/** `[kmer, times]` of the words seen at least `minCount` times, most frequent first, equal ones by letters. */
export function frequentKmers(counts, minCount) {
  return [...counts]
    .filter(([, times]) => times >= minCount)
    .sort(([a, timesA], [b, timesB]) => timesB - timesA || (a < b ? -1 : 1));
}
