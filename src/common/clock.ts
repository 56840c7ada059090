/** Time as the daemon sees it; injected so that tests and the simulation own it. */
export interface Clock {
  /** Wall time, milliseconds since 1970 UTC. For display and records only. */
  now(): number;
  /** Monotonic milliseconds; the only base of durations and leases. */
  monotonic(): number;
  /**
   * Resolves after `ms` (0 … any length; longer than Node's 24.8-day timer limit is fine), or at once when `signal` aborts.
   * Never rejects: callers look at the signal.
   */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Node fires a longer timer at once; sleep in pieces well below the limit of 2^31-1 ms. */
const longestTimerMs = 3_600_000;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  async sleep(ms, signal) {
    const deadline = performance.now() + ms;
    for (let left = ms; left > 0 && !signal?.aborted; left = deadline - performance.now()) {
      await pause(Math.min(left, longestTimerMs), signal);
    }
  },
};

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(done, ms);
  signal?.addEventListener("abort", done, { once: true });
  function done(): void {
    clearTimeout(timer);
    signal?.removeEventListener("abort", done);
    resolve();
  }
  return promise;
}

/** Reason of an abort that ends a wait: nobody reads it, but without one the signal would make an error with its stack. */
export const cutShort = "cut short";

/**
 * Sleeps `ms`, or until `news` or `signal` if that is sooner. Leaves nothing behind on a signal that lives as long as the process (a
 * combined signal would); `news` should live no longer than the wait.
 */
export async function sleepUnless(
  clock: Pick<Clock, "sleep">,
  ms: number,
  news: Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const cut = new AbortController();
  const stop = (): void => cut.abort(cutShort);
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  void news.then(stop);
  await clock.sleep(ms, cut.signal);
  signal.removeEventListener("abort", stop);
}

/** ISO 8601 in UTC with milliseconds, as all records and machine output write time. */
export function isoTime(epochMs: number): string {
  return new Date(epochMs).toISOString();
}
