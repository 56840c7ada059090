import type { Random } from "./random.ts";

interface Event {
  readonly at: number;
  /** Decides between events of one moment: the order is the seed's. */
  readonly tie: number;
  run: (() => void) | undefined;
}

/** When the simulated time begins, milliseconds since 1970. */
const epochMs = Date.UTC(2026, 0, 1);

/** Virtual time: nothing passes but by events, one after the other, each with all promises settled that it settles. */
export class VirtualTime {
  /** Milliseconds since the beginning. */
  now = 0;
  readonly #random: Random;
  readonly #heap: Event[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  get wall(): number {
    return epochMs + this.now;
  }

  /** Runs something later; the answer takes it back. */
  after(ms: number, run: () => void): () => void {
    const event: Event = { at: this.now + Math.max(0, ms), tie: this.#random.next(), run };
    this.#push(event);
    return () => {
      event.run = undefined;
    };
  }

  /** Runs the next event and lets everything settle that follows from it at once. False when there is none. */
  async step(): Promise<boolean> {
    let event = this.#pop();
    while (event && !event.run) event = this.#pop();
    if (!event) return false;
    this.now = event.at;
    event.run?.();
    // All promise reactions are done before the next turn of Node's loop.
    await new Promise(setImmediate);
    return true;
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let place = heap.push(event) - 1;
    while (place > 0) {
      const above = (place - 1) >> 1;
      const parent = heap[above];
      if (!parent || !isBefore(event, parent)) break;
      heap[place] = parent;
      place = above;
    }
    heap[place] = event;
  }

  #pop(): Event | undefined {
    const heap = this.#heap;
    const [first] = heap;
    const last = heap.pop();
    if (!first || !last || heap.length === 0) return first;
    let place = 0;
    for (;;) {
      let below = 2 * place + 1;
      const [left, right] = [heap[below], heap[below + 1]];
      if (!left) break;
      let child = left;
      if (right && isBefore(right, left)) {
        below++;
        child = right;
      }
      if (!isBefore(child, last)) break;
      heap[place] = child;
      place = below;
    }
    heap[place] = last;
    return first;
  }
}

function isBefore(one: Event, other: Event): boolean {
  return one.at < other.at || (one.at === other.at && one.tie < other.tie);
}
