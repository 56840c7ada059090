import type { Clock } from "../../src/common/clock.ts";
import { systemClock } from "../../src/common/clock.ts";

/** Wall time of virtual clocks at their beginning. */
export const epochStart = Date.UTC(2026, 2, 1, 12);

interface Sleeper {
  readonly dueMs: number;
  readonly wake: () => void;
}

/** Time that passes only when a test says so. Wall time may be set to anything; monotonic time goes on all the same. */
export class VirtualClock implements Clock {
  #monotonicMs = 0;
  #wallOffsetMs = epochStart;
  readonly #sleepers = new Set<Sleeper>();
  #woken = 0;

  now(): number {
    return this.#wallOffsetMs + this.#monotonicMs;
  }

  monotonic(): number {
    return this.#monotonicMs;
  }

  /** Sets the wall clock, as an administrator or a time server does. */
  setWall(epochMs: number): void {
    this.#wallOffsetMs = epochMs - this.#monotonicMs;
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (!(ms > 0) || signal?.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const sleeper: Sleeper = { dueMs: this.#monotonicMs + ms, wake: resolve };
    this.#sleepers.add(sleeper);
    const onAbort = (): void => resolve();
    signal?.addEventListener("abort", onAbort, { once: true });
    await promise;
    this.#sleepers.delete(sleeper);
    signal?.removeEventListener("abort", onAbort);
  }

  /** So many wait for a time. */
  get sleeping(): number {
    return this.#sleepers.size;
  }

  /** How often somebody's time had come. */
  get woken(): number {
    return this.#woken;
  }

  /**
   * Lets `ms` pass: wakes sleepers in the order of their times, and after each moment waits until `settled` resolves (default: what
   * follows without any input or output has run).
   */
  async advance(ms: number, settled: () => Promise<void> = nextTurn): Promise<void> {
    const target = this.#monotonicMs + ms;
    await settled();
    for (;;) {
      const dueMs = Math.min(...[...this.#sleepers].map((sleeper) => sleeper.dueMs));
      if (dueMs > target) break;
      this.#monotonicMs = Math.max(this.#monotonicMs, dueMs);
      for (const sleeper of this.#sleepers) {
        if (sleeper.dueMs > this.#monotonicMs) continue;
        this.#sleepers.delete(sleeper);
        this.#woken++;
        sleeper.wake();
      }
      await settled();
    }
    this.#monotonicMs = target;
  }
}

/** Real time, `speed` times as fast. */
export function scaledClock(speed: number): Clock {
  const began = performance.now();
  const wallMs = Date.now();
  const monotonic = (): number => (performance.now() - began) * speed;
  return {
    now: () => wallMs + monotonic(),
    monotonic,
    sleep: (ms, signal) => systemClock.sleep(ms / speed, signal),
  };
}

/** After everything that runs without further input or output. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
