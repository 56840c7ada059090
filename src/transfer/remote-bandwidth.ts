import type { CallContext } from "../common/context.ts";
import { throwIfStopped } from "./errors.ts";

/** Shorter waits than this are saved up: timers are not finer. Milliseconds. */
const leastWaitMs = 5;

interface Waiter {
  readonly job: string;
  readonly bytes: number;
  /** When it begins in the order of the shares, in bytes. */
  readonly start: number;
  readonly go: () => void;
}

/**
 * Bytes per second that all jobs share at one remote, each getting as much as the others while it has something to move (start-time
 * fair queueing: Goyal, Vin, Cheng 1996).
 */
export class RemoteBandwidth {
  readonly #bytesPerMs: number;
  readonly #waiting = new Set<Waiter>();
  /** Where the share of each job ends that was served lately, in bytes. */
  readonly #ends = new Map<string, number>();
  /** Start of what was served last. */
  #served = 0;
  #freeAt = -Infinity;
  #serving = false;

  constructor(bytesPerSecond: number) {
    this.#bytesPerMs = bytesPerSecond / 1000;
  }

  /** Resolves when `job` may move so many bytes. @throws Fault CANCELLED when the signal aborts first. */
  async take(job: string, bytes: number, { signal, clock }: CallContext): Promise<void> {
    throwIfStopped(signal);
    const start = Math.max(this.#served, this.#ends.get(job) ?? 0);
    this.#ends.set(job, start + bytes);
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiter: Waiter = { job, bytes, start, go: resolve };
    const giveUp = (): void => {
      this.#waiting.delete(waiter);
      resolve();
    };
    this.#waiting.add(waiter);
    signal.addEventListener("abort", giveUp, { once: true });
    void this.#serve(clock);
    await promise;
    signal.removeEventListener("abort", giveUp);
    throwIfStopped(signal);
  }

  /** Serves until nobody waits. */
  async #serve(clock: CallContext["clock"]): Promise<void> {
    if (this.#serving) return;
    this.#serving = true;
    while (this.#waiting.size > 0) {
      const waitMs = this.#freeAt - clock.monotonic();
      if (waitMs >= leastWaitMs) await clock.sleep(waitMs);
      this.#next(clock.monotonic());
    }
    this.#serving = false;
    this.#forget();
  }

  #next(now: number): void {
    let first: Waiter | undefined;
    for (const waiter of this.#waiting) if (!first || waiter.start < first.start) first = waiter;
    if (!first) return;
    this.#waiting.delete(first);
    this.#served = Math.max(this.#served, first.start);
    this.#freeAt = Math.max(this.#freeAt, now) + first.bytes / this.#bytesPerMs;
    first.go();
  }

  /** Jobs whose share is used up are like new ones. */
  #forget(): void {
    for (const [job, end] of this.#ends) if (end <= this.#served) this.#ends.delete(job);
  }
}
