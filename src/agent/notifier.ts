/** Something that happens now and then and that loops wait for: `notify` ends all current waits. */
export class Notifier {
  #waiting = Promise.withResolvers<void>();

  notify(): void {
    this.#waiting.resolve();
    this.#waiting = Promise.withResolvers<void>();
  }

  /** Resolves at the next notify or abort, whichever is first. */
  async next(abort?: AbortSignal): Promise<void> {
    if (abort?.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const onAbort = (): void => resolve();
    abort?.addEventListener("abort", onAbort, { once: true });
    await Promise.race([this.#waiting.promise, promise]);
    abort?.removeEventListener("abort", onAbort);
  }
}
