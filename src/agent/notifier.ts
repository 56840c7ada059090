/** A look-out for the next notify. Dispose of it: until then it is kept. */
export interface Listening extends Disposable {
  /** Resolves at the next notify since the look-out began; never rejects. */
  readonly heard: Promise<void>;
}

/**
 * Something that happens now and then and that loops wait for: `notify` ends all current waits. A loop that turns for weeks without
 * being notified must leave nothing behind, so waits are entries of a set and no reactions of one promise that lives as long.
 */
export class Notifier {
  readonly #waiting = new Set<() => void>();

  notify(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }

  /** From now on: what happens between this call and the wait is not missed. */
  listen(): Listening {
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = (): void => resolve();
    this.#waiting.add(wake);
    return { heard: promise, [Symbol.dispose]: () => void this.#waiting.delete(wake) };
  }

  /** Resolves at the next notify or abort, whichever is first. To be awaited; a loop that may go on without it uses `listen`. */
  async next(abort?: AbortSignal): Promise<void> {
    if (abort?.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = (): void => resolve();
    this.#waiting.add(wake);
    abort?.addEventListener("abort", wake, { once: true });
    await promise;
    this.#waiting.delete(wake);
    abort?.removeEventListener("abort", wake);
  }
}
