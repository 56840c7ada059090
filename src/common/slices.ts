/** Long calculations that leave the main loop to others in between. */
import { setImmediate as nextTurn } from "node:timers/promises";

/** A calculation that may be left alone wherever it yields. */
export type Steps<Result> = Generator<undefined, Result, undefined>;

/** Longest time in one go, milliseconds. */
const sliceMs = 10;

export function isSteps<Result>(value: Result | Steps<Result>): value is Steps<Result> {
  return typeof value === "object" && value !== null && "next" in value && Symbol.iterator in value;
}

/** Carries it out, 10 ms at a time. */
export async function inSlices<Result>(steps: Steps<Result>): Promise<Result> {
  for (;;) {
    const end = performance.now() + sliceMs;
    do {
      const step = steps.next();
      if (step.done) return step.value;
    } while (performance.now() < end);
    await nextTurn();
  }
}

/** `items.map(map)`, 10 ms at a time. */
export function mapInSlices<Item, Result>(
  items: readonly Item[],
  map: (item: Item, index: number) => Result,
): Promise<readonly Result[]> {
  return inSlices(mapSteps(items, map));
}

function* mapSteps<Item, Result>(
  items: readonly Item[],
  map: (item: Item, index: number) => Result,
): Steps<readonly Result[]> {
  const results: Result[] = [];
  for (const [index, item] of items.entries()) {
    results.push(map(item, index));
    yield;
  }
  return results;
}
