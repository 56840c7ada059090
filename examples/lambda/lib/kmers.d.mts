export interface SpectrumRow {
  readonly times: number;
  readonly distinct: number;
  readonly inGenome: number;
}
export type KmerCounts = Map<string, number>;
export function forEachKmer(sequence: string, k: number, visit: (kmer: string) => void): void;
export function countKmers(sequence: string, k: number, counts?: KmerCounts): KmerCounts;
export function spectrum(counts: KmerCounts, genomeKmers: KmerCounts): SpectrumRow[];
export function frequentKmers(counts: KmerCounts, minCount: number): [string, number][];
