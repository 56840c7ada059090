import { nearest } from "../common/nearest.ts";

/** For a wrong word: the nearest right one, else all of them. */
export function hintNearest(word: string, known: readonly string[]): string {
  const near = nearest(word, known);
  return near === undefined ? `one of: ${known.join(", ")}` : `did you mean '${near}'?`;
}
