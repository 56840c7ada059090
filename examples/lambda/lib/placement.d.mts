export interface Index {
  readonly genome: Uint8Array;
  readonly seed: number;
}
export type Place =
  | { readonly kind: "placed"; readonly start: number; readonly strand: "+" | "-"; readonly mismatches: number }
  | { readonly kind: "ambiguous" }
  | { readonly kind: "unplaced" };
export interface DepthSummary {
  readonly min: number;
  readonly mean: number;
  readonly max: number;
  readonly covered_positions: number;
  readonly breadth: number;
  readonly breadth_5x: number;
}
export interface Window {
  readonly start: number;
  readonly end: number;
  readonly min: number;
  readonly mean: number;
  readonly max: number;
  readonly covered: number;
  readonly gc: number;
}
export function buildIndex(genome: Uint8Array, seed: number): Index;
export function placeRead(index: Index, bases: Uint8Array, options: { readonly maxMismatch: number }): Place;
export class Depth {
  constructor(length: number);
  add(start: number, length: number): void;
  positions(): Int32Array;
}
export function summarizeDepth(depth: Int32Array): DepthSummary;
export function windows(depth: Int32Array, genome: Uint8Array, size: number): Window[];
