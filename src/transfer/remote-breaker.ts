import { sleepUnless } from "../common/clock.ts";
import type { CallContext } from "../common/context.ts";
import type { Fault } from "../common/fault.ts";
import { type Backoff, backoffMs } from "../common/retry.ts";
import { throwIfStopped } from "./errors.ts";

/** Rounds of tries without an answer, one after the other, before all others wait. */
const mostRounds = 3;
/** Between probes; random below, and twice as long after each. */
const probeBackoff: Backoff = { baseMs: 2_000, capMs: 60_000 };
/** A probe that has no outcome yet is waited for so long at a time. */
const probeLookMs = 60_000;

/** One try to move something at a remote. */
export interface Attempt {
  readonly startedAt: number;
  readonly isProbe: boolean;
}

/**
 * Holds up tries at a remote that does not answer: after some rounds all wait, and one at a time goes ahead as a probe, less and less
 * often, until it has an answer. Files that fail at the same moment, as by one lost connection, are one round.
 */
export class RemoteBreaker {
  readonly #random: () => number;
  #rounds = 0;
  #lastFailureAt = -Infinity;
  /** Times that it opened in a row. */
  #openings = 0;
  #open: { readonly fault: Fault; readonly since: number; until: number } | undefined;
  #probing = false;
  #news = Promise.withResolvers<void>();

  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  /** What goes wrong there while tries wait. */
  get trouble(): Fault | undefined {
    return this.#open?.fault;
  }

  /** Nothing is known of it that would be worth keeping. */
  get idle(): boolean {
    return !this.#open && this.#rounds === 0 && this.#openings === 0;
  }

  /** Resolves when a try may go: at once, or as the next probe. @throws Fault CANCELLED when the signal aborts first. */
  async enter({ signal, clock }: CallContext, onWait: (fault: Fault) => void): Promise<Attempt> {
    for (;;) {
      throwIfStopped(signal);
      const now = clock.monotonic();
      if (!this.#open) return { startedAt: now, isProbe: false };
      if (now >= this.#open.until && !this.#probing) {
        this.#probing = true;
        return { startedAt: now, isProbe: true };
      }
      onWait(this.#open.fault);
      const waitMs = this.#probing ? probeLookMs : this.#open.until - now;
      await sleepUnless(clock, waitMs, this.#news.promise, signal);
    }
  }

  /** The remote answered this try: all may go. `whole`: what was tried is done. */
  answered(attempt: Attempt, whole: boolean): void {
    if (attempt.isProbe) this.#probing = false;
    this.#rounds = 0;
    if (whole) this.#openings = 0;
    if (!this.#open) return;
    this.#open = undefined;
    this.#tell();
  }

  /** The remote did not answer this try. */
  failed(attempt: Attempt, fault: Fault, now: number): void {
    if (attempt.isProbe) this.#probing = false;
    // Others of the same round, and stragglers from before, tell nothing new.
    else if (this.#open || attempt.startedAt < this.#lastFailureAt) return;
    this.#lastFailureAt = now;
    this.#rounds++;
    if (!this.#open && this.#rounds < mostRounds) return;
    this.#openings++;
    this.#open = {
      fault,
      since: this.#open?.since ?? now,
      until: now + backoffMs(probeBackoff, this.#openings, this.#random),
    };
    this.#tell();
  }

  /** The try ended without telling anything of the remote. */
  unclear(attempt: Attempt): void {
    if (!attempt.isProbe) return;
    this.#probing = false;
    this.#tell();
  }

  #tell(): void {
    this.#news.resolve();
    this.#news = Promise.withResolvers<void>();
  }
}
