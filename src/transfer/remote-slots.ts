import { throwIfStopped } from "./errors.ts";

/** The right of one job to move a file at a remote now. */
export interface Slot {
  readonly job: string;
}

/** A line that has carried so much since it was last lost is one like any other, bytes. */
const soundBytes = 16 * 1024 * 1024;

/**
 * How many files may move at one remote; fewer while its line is lost before any that share it comes further. A free place goes to the
 * job that moves the least there, of equals to the one that was served longest ago: a small job is not kept behind all files of a
 * large one.
 */
export class RemoteSlots {
  readonly #most: number;
  readonly #active = new Map<string, number>();
  /** By job; those that were served last come last. */
  readonly #waiting = new Map<string, (() => void)[]>();
  #taken = 0;
  /** At most `#most`. */
  #allowed: number;
  #narrowings = 0;
  /** Since the line was last lost. */
  #carriedBytes = 0;
  /** Since a file last moved whole. */
  #lost = false;

  constructor(most: number) {
    this.#most = most;
    this.#allowed = most;
  }

  /** More move than may by now: who begins a try has to `leave` and `enter` (as the first of its job) before. */
  get crowded(): boolean {
    return this.#taken > this.#allowed;
  }

  /** Fewer may move than would otherwise. */
  get narrowed(): boolean {
    return this.#allowed < this.#most;
  }

  /** How often it became fewer, for `lost`. */
  get narrowings(): number {
    return this.#narrowings;
  }

  /**
   * The line was lost under a try. One that brought its file no further makes it half as many next time; of those that began since the
   * last time one counts.
   */
  lost(further: boolean, sinceNarrowings: number): void {
    this.#carriedBytes = 0;
    this.#lost = true;
    if (further || sinceNarrowings !== this.#narrowings) return;
    this.#narrowings++;
    this.#allowed = Math.max(1, Math.floor(Math.min(this.#allowed, this.#taken) / 2));
  }

  /** So many bytes were carried. */
  carried(bytes: number): void {
    if (this.#allowed === this.#most) return;
    this.#carriedBytes += bytes;
    if (this.#carriedBytes >= soundBytes) this.#allow(this.#most);
  }

  /** A file has moved whole: one more may move at the same time if the line held since the last one did. */
  moved(): void {
    if (this.#allowed < this.#most && !this.#lost) this.#allow(this.#allowed + 1);
    this.#lost = false;
  }

  /** Nobody moves or waits, and there is nothing to be remembered. */
  get idle(): boolean {
    return this.#taken === 0 && this.#waiting.size === 0 && this.#allowed === this.#most;
  }

  /** @throws Fault CANCELLED when `signal` aborts first. */
  async enter({ job }: Slot, signal: AbortSignal, first = false): Promise<void> {
    throwIfStopped(signal);
    if (this.#taken < this.#allowed && this.#waiting.size === 0) {
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
    this.#allow(this.#allowed);
  }

  /**
   * True when `slot` should wait for a while in the favour of a job that moves nothing here: its own job moves other files. Then
   * `leave` and `enter` (as the first of its job).
   */
  isWanted({ job }: Slot): boolean {
    if (this.#waiting.size === 0 || (this.#active.get(job) ?? 0) < 2) return false;
    return [...this.#waiting.keys()].some((other) => !this.#active.has(other));
  }

  #allow(files: number): void {
    this.#allowed = files;
    while (this.#taken < files && this.#serveNext());
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
