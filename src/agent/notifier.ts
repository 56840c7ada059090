/** A look-out for the next notify. Dispose of it: until then it is kept. */
export interface Listening extends Disposable {
  /** Resolves at the next notify since the look-out began; never rejects. */
  readonly heard: Promise<void>;
}

/**
 * Something that happens now and then and that loops wait for: `notify` ends all current waits. A loop that turns for weeks without
 * being notified must leave nothing behind, so waits are entries of a set and no reactions of one promise that lives as long.
 *
 * What happens to one thing of many is notified with its key: it ends the waits for that key and those for anything, and leaves the
 * waits for others alone.
 */
export class Notifier {
  readonly #waiting = new Set<() => void>();
  readonly #ofKey = new Map<string, Set<() => void>>();

  notify(key?: string): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
    for (const of of key === undefined ? [...this.#ofKey.keys()] : [key]) {
      const these = this.#ofKey.get(of);
      this.#ofKey.delete(of);
      if (these) for (const wake of these) wake();
    }
  }

  /** From now on: what happens between this call and the wait is not missed. */
  listen(): Listening {
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = (): void => resolve();
    this.#waiting.add(wake);
    return { heard: promise, [Symbol.dispose]: () => void this.#waiting.delete(wake) };
  }

  /**
   * Resolves at the next notify (with `key`, or without any, where one is given) or abort, whichever is first. To be awaited; a loop that
   * may go on without it uses `listen`.
   */
  async next(abort?: AbortSignal, key?: string): Promise<void> {
    if (abort?.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = (): void => resolve();
    const waiting = key === undefined ? this.#waiting : this.#waitingFor(key);
    waiting.add(wake);
    abort?.addEventListener("abort", wake, { once: true });
    await promise;
    waiting.delete(wake);
    if (key !== undefined && waiting.size === 0 && this.#ofKey.get(key) === waiting) this.#ofKey.delete(key);
    abort?.removeEventListener("abort", wake);
  }

  #waitingFor(key: string): Set<() => void> {
    const known = this.#ofKey.get(key);
    if (known) return known;
    const made = new Set<() => void>();
    this.#ofKey.set(key, made);
    return made;
  }
}
