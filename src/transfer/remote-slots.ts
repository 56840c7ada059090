import { throwIfStopped } from "./errors.ts";

/** The right of one job to move a file at a remote now. */
export interface Slot {
  readonly job: string;
}

/**
 * How many files may move at one remote. A free place goes to the job that moves the least there, of equals to the one that was served
 * longest ago: a small job is not kept behind all files of a large one.
 */
export class RemoteSlots {
  readonly #most: number;
  readonly #active = new Map<string, number>();
  /** By job; those that were served last come last. */
  readonly #waiting = new Map<string, (() => void)[]>();
  #taken = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /** Nobody moves or waits. */
  get idle(): boolean {
    return this.#taken === 0 && this.#waiting.size === 0;
  }

  /** @throws Fault CANCELLED when `signal` aborts first. */
  async enter({ job }: Slot, signal: AbortSignal, first = false): Promise<void> {
    throwIfStopped(signal);
    if (this.#taken < this.#most && this.#waiting.size === 0) {
      this.#take(job);
      return;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    const queue = this.#waiting.get(job) ?? [];
    this.#waiting.set(job, queue);
    if (first) queue.unshift(resolve);
    else queue.push(resolve);
    const giveUp = (): void => {
      const at = queue.indexOf(resolve);
      if (at === -1) return; // served a moment ago
      queue.splice(at, 1);
      if (queue.length === 0) this.#waiting.delete(job);
      this.#take(job);
      resolve();
    };
    signal.addEventListener("abort", giveUp, { once: true });
    await promise;
    signal.removeEventListener("abort", giveUp);
    if (!signal.aborted) return;
    this.leave({ job });
    throwIfStopped(signal);
  }

  leave({ job }: Slot): void {
    const left = (this.#active.get(job) ?? 0) - 1;
    if (left > 0) this.#active.set(job, left);
    else this.#active.delete(job);
    this.#taken--;
    while (this.#taken < this.#most && this.#serveNext());
  }

  /**
   * True when `slot` should wait for a while in the favour of a job that moves nothing here: its own job moves other files. Then
   * `leave` and `enter` (as the first of its job).
   */
  isWanted({ job }: Slot): boolean {
    if (this.#waiting.size === 0 || (this.#active.get(job) ?? 0) < 2) return false;
    return [...this.#waiting.keys()].some((other) => !this.#active.has(other));
  }

  #serveNext(): boolean {
    let next: string | undefined;
    let least = Infinity;
    for (const job of this.#waiting.keys()) {
      const active = this.#active.get(job) ?? 0;
      if (active < least) [next, least] = [job, active];
    }
    if (next === undefined) return false;
    const queue = this.#waiting.get(next) ?? [];
    const go = queue.shift();
    this.#waiting.delete(next);
    if (queue.length > 0) this.#waiting.set(next, queue);
    this.#take(next);
    go?.();
    return true;
  }

  #take(job: string): void {
    this.#active.set(job, (this.#active.get(job) ?? 0) + 1);
    this.#taken++;
  }
}
