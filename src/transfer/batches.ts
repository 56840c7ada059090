import type { Clock } from "../common/clock.ts";

export interface BatchLimits {
  readonly most: number;
  /** A batch is dealt with after this time, however small, once something more comes. */
  readonly longestMs: number;
}

/**
 * Collects what comes one by one and has it dealt with many at a time, one batch after the other, while more comes: who adds waits
 * only for the batch before the last.
 */
export class Batches<Item> {
  readonly #limits: BatchLimits;
  readonly #clock: Clock;
  readonly #deal: (items: readonly Item[]) => Promise<void>;
  #come: Item[] = [];
  #dealing: Promise<void> = Promise.resolve();
  #begunMs: number;

  /** `deal` must not reject. */
  constructor(limits: BatchLimits, clock: Clock, deal: (items: readonly Item[]) => Promise<void>) {
    this.#limits = limits;
    this.#clock = clock;
    this.#deal = deal;
    this.#begunMs = clock.monotonic();
  }

  async add(item: Item): Promise<void> {
    this.#come.push(item);
    const { most, longestMs } = this.#limits;
    if (this.#come.length < most && this.#clock.monotonic() - this.#begunMs < longestMs) return;
    const before = this.#dealing;
    this.#begin();
    await before;
  }

  /** Resolves when all that came is dealt with. */
  async finish(): Promise<void> {
    this.#begin();
    await this.#dealing;
  }

  #begin(): void {
    const items = this.#come;
    const before = this.#dealing;
    this.#come = [];
    this.#begunMs = this.#clock.monotonic();
    this.#dealing = (async () => {
      await before;
      if (items.length > 0) await this.#deal(items);
    })();
  }
}
