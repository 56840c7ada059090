export interface BaseCounts {
  readonly A: number;
  readonly C: number;
  readonly G: number;
  readonly T: number;
  readonly N: number;
}
export const unknownBase: number;
export function reverseComplement(sequence: string): string;
export function countBases(sequence: string): BaseCounts;
export function gcShare(counts: BaseCounts): number;
export function encode(sequence: string): Uint8Array;
export function reverseComplementCodes(bases: Uint8Array): Uint8Array;
export function rounded(value: number, digits?: number): number;
