// Statistics of reads, and the filter.
import { countBases, gcShare, rounded } from "./sequence.mjs";

const phredOffset = 33;

/** Sum of the Phred scores of a quality line. */
export function sumQuality(quality) {
  let sum = 0;
  for (let at = 0; at < quality.length; at += 1) sum += quality.charCodeAt(at) - phredOffset;
  return sum;
}

/** Why a read is left out (`"short"`, `"quality"`), or undefined when it is kept. */
export function rejection(read, { minQuality, minLength }) {
  if (read.sequence.length < minLength) return "short";
  if (sumQuality(read.quality) / read.quality.length < minQuality) return "quality";
  return undefined;
}

/** Collects statistics of reads: counts, GC, mean quality by position, distributions of length and GC. */
export class ReadStatistics {
  #reads = 0;
  #bases = { A: 0, C: 0, G: 0, T: 0, N: 0 };
  #qualitySum = 0;
  #lengths = new Map();
  #gcPercents = new Map();
  #positionSums = [];
  #positionReads = [];

  add({ sequence, quality }) {
    const counts = countBases(sequence);
    this.#reads += 1;
    for (const base of Object.keys(counts)) this.#bases[base] += counts[base];
    increment(this.#lengths, sequence.length);
    increment(this.#gcPercents, Math.floor(gcShare(counts) * 100));
    for (let at = 0; at < quality.length; at += 1) {
      const score = quality.charCodeAt(at) - phredOffset;
      this.#qualitySum += score;
      this.#positionSums[at] = (this.#positionSums[at] ?? 0) + score;
      this.#positionReads[at] = (this.#positionReads[at] ?? 0) + 1;
    }
  }

  /** The numbers that fit into a report. */
  summary() {
    const bases = Object.values(this.#bases).reduce((sum, count) => sum + count, 0);
    const lengths = [...this.#lengths.keys()];
    return {
      reads: this.#reads,
      bases,
      unknown_bases: this.#bases.N,
      gc: rounded(gcShare(this.#bases)),
      mean_quality: bases === 0 ? 0 : rounded(this.#qualitySum / bases),
      // Not Math.min(...lengths): long reads have very many lengths.
      min_length: lengths.reduce((least, length) => Math.min(least, length), lengths[0] ?? 0),
      mean_length: this.#reads === 0 ? 0 : rounded(bases / this.#reads),
      max_length: lengths.reduce((most, length) => Math.max(most, length), 0),
    };
  }

  /** The distributions; positions count from 1, GC is in whole percent rounded down. */
  distributions() {
    return {
      mean_quality_by_position: this.#positionSums.map((sum, at) => rounded(sum / this.#positionReads[at])),
      reads_by_length: histogram(this.#lengths),
      reads_by_gc_percent: histogram(this.#gcPercents),
    };
  }
}

function increment(counts, key) {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

/** Counts by key in rising order; integer keys keep that order in JSON. */
function histogram(counts) {
  return Object.fromEntries([...counts].sort(([a], [b]) => a - b));
}
