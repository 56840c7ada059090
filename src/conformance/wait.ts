export interface WaitOptions {
  /** What is awaited, for the error: "the job to be RUNNING". A function is asked when the time is over. */
  readonly what: string | (() => string);
  /** Default 10 s. */
  readonly timeoutMs?: number;
  /** Pause between two looks, default 20 ms. */
  readonly intervalMs?: number;
}

/**
 * Looks until `condition` gives something truthy and resolves with it. A condition that throws counts as "not yet"; the
 * last such error is the cause of the error thrown when the time is over.
 */
export async function waitFor<Value>(
  condition: () => Value | Promise<Value>,
  options: WaitOptions,
): Promise<Exclude<Awaited<Value>, undefined | null | false>> {
  const timeoutMs = options.timeoutMs ?? 10_000;
  const deadline = performance.now() + timeoutMs;
  let cause: unknown;
  for (;;) {
    try {
      const value = await condition();
      cause = undefined;
      if (value) return value as Exclude<Awaited<Value>, undefined | null | false>;
    } catch (error) {
      cause = error;
    }
    if (performance.now() >= deadline) break;
    await new Promise((resolve) => setTimeout(resolve, options.intervalMs ?? 20));
  }
  const what = typeof options.what === "function" ? options.what() : options.what;
  const last = cause instanceof Error ? `; last error: ${cause.message}` : "";
  throw new Error(`waited ${timeoutMs} ms in vain for ${what}${last}`, cause === undefined ? undefined : { cause });
}
