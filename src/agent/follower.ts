import { sleepUnless } from "../common/clock.ts";
import type { CallContext } from "../common/context.ts";
import { asFault } from "../common/fault.ts";
import type { Token } from "../common/token.ts";
import type { AttemptRef, AttemptStatus, Launcher } from "../launchers/types.ts";
import { Notifier } from "./notifier.ts";

const shortestMs = 250;
const longestMs = 10_000;

interface Followed {
  readonly ref: AttemptRef;
  status: AttemptStatus | undefined;
  readonly news: Notifier;
}

/**
 * One query per launcher for all attempts that somebody follows, whatever their number (invariant 9). At those that the launcher's watch
 * hints at, and at new ones, it looks at once and at them alone; at all every 0.25 s … 10 s, the longer the calmer. When nothing is followed
 * nothing runs.
 */
export class Follower {
  readonly #launcher: Launcher;
  readonly #followed = new Map<Token, Followed>();
  readonly #wake = new Notifier();
  readonly #watch: Disposable;
  readonly #done: Promise<void>;
  readonly #onAnswer: (trouble: string | undefined) => void;
  #hinted = new Set<Token>();
  #first = true;

  /** `onAnswer`: after each look, why what stands behind the launcher could not be asked; undefined = it could. */
  constructor(launcher: Launcher, context: CallContext, onAnswer: (trouble: string | undefined) => void = () => {}) {
    this.#launcher = launcher;
    this.#onAnswer = onAnswer;
    this.#watch = launcher.watch((token) => {
      if (!this.#followed.has(token)) return;
      this.#hinted.add(token);
      this.#wake.notify();
    });
    this.#done = this.#run(context);
  }

  /** Resolves with the next status for which `wanted` is true; throws nothing, ends with `undefined` when `signal` aborts. */
  async wait<Wanted extends AttemptStatus>(
    ref: AttemptRef,
    wanted: (status: AttemptStatus) => status is Wanted,
    signal: AbortSignal,
  ): Promise<Wanted | undefined> {
    const followed: Followed = this.#followed.get(ref.token) ?? { ref, status: undefined, news: new Notifier() };
    if (!this.#followed.has(ref.token)) {
      this.#followed.set(ref.token, followed);
      this.#hinted.add(ref.token);
      this.#wake.notify();
    }
    try {
      while (!signal.aborted) {
        const next = followed.news.next(signal);
        if (followed.status !== undefined && wanted(followed.status)) return followed.status;
        await next;
      }
      return undefined;
    } finally {
      if (this.#followed.get(ref.token) === followed) this.#followed.delete(ref.token);
    }
  }

  /** What the last look said; undefined = nobody follows it, or nobody has looked yet. */
  latest(token: Token): AttemptStatus | undefined {
    return this.#followed.get(token)?.status;
  }

  /** Ends with the context's signal; call after aborting it. */
  async closed(): Promise<void> {
    this.#watch[Symbol.dispose]();
    this.#wake.notify();
    await this.#done;
  }

  async #run(context: CallContext): Promise<void> {
    let pauseMs = shortestMs;
    let allAt = context.clock.monotonic();
    while (!context.signal.aborted) {
      if (this.#followed.size === 0) {
        await this.#wake.next(context.signal);
        continue;
      }
      using woken = this.#wake.listen();
      const hinted = this.#hinted;
      this.#hinted = new Set();
      const isForAll = context.clock.monotonic() >= allAt;
      const changed = await this.#look(isForAll ? this.#followed.keys() : hinted, context);
      const now = context.clock.monotonic();
      if (hinted.size > 0 || changed) pauseMs = shortestMs;
      else if (isForAll) pauseMs = Math.min(pauseMs * 2, longestMs);
      allAt = isForAll ? now + pauseMs : Math.min(allAt, now + pauseMs);
      if (this.#hinted.size > 0) continue;
      // Whole milliseconds, as timers have them: what is left of one by rounding would be slept for without end.
      await sleepUnless(context.clock, Math.ceil(allAt - now), woken.heard, context.signal);
    }
  }

  async #look(tokens: Iterable<Token>, context: CallContext): Promise<boolean> {
    const asked = [...tokens].flatMap((token) => this.#followed.get(token) ?? []);
    if (asked.length === 0) return false;
    try {
      const statuses = await this.#launcher.statuses(
        asked.map((followed) => followed.ref),
        context,
      );
      let changed = false;
      let running = 0;
      for (const [index, followed] of asked.entries()) {
        const status = statuses[index];
        if (status === undefined) continue;
        if (status.state === "running") running++;
        const isNews = !isAlike(status, followed.status);
        followed.status = status;
        if (!isNews) continue;
        changed = true;
        followed.news.notify();
      }
      this.#onAnswer(this.#launcher.trouble);
      // At the first look: what earlier processes started and this one goes on with.
      if (this.#first) {
        this.#first = false;
        context.log.info({ followed: asked.length, running }, "attempts are followed");
      }
      return changed;
    } catch (error) {
      // Could not ask: nothing is known, nothing changes (invariant 2).
      this.#onAnswer(asFault(error).message);
      if (!context.signal.aborted)
        context.log.warn({ err: asFault(error), followed: asked.length }, "the launcher could not be asked");
      return false;
    }
  }
}

/** It runs but was stopped by a signal or its scheduler. */
export function isSuspended(status: AttemptStatus): boolean {
  return status.state === "running" && status.suspended === true;
}

function isAlike(status: AttemptStatus, before: AttemptStatus | undefined): boolean {
  return (
    status.state === before?.state &&
    isSuspended(status) === isSuspended(before) &&
    stuckReason(status) === stuckReason(before)
  );
}

/** Why it will not start by itself; undefined = it may. */
export function stuckReason(status: AttemptStatus): string | undefined {
  return status.state === "queued" && status.stuck === true ? status.reason : undefined;
}
