import type { Read } from "./formats.mjs";

export interface Summary {
  readonly reads: number;
  readonly bases: number;
  readonly unknown_bases: number;
  readonly gc: number;
  readonly mean_quality: number;
  readonly min_length: number;
  readonly mean_length: number;
  readonly max_length: number;
}
export interface Distributions {
  readonly mean_quality_by_position: readonly number[];
  readonly reads_by_length: Readonly<Record<string, number>>;
  readonly reads_by_gc_percent: Readonly<Record<string, number>>;
}
export function sumQuality(quality: string): number;
export function rejection(
  read: Read,
  limits: { readonly minQuality: number; readonly minLength: number },
): "short" | "quality" | undefined;
export class ReadStatistics {
  add(read: Read): void;
  summary(): Summary;
  distributions(): Distributions;
}
