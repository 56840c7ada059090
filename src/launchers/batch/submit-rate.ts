const windowMs = 60_000;

/** In no minute more than so many. */
export class SubmitRate {
  readonly perMinute: number;
  /** When those of the last minute were, monotonic, the oldest first. */
  #taken: number[] = [];

  constructor(perMinute: number) {
    this.perMinute = perMinute;
  }

  /** How many of `wanted` may be now; they count from now on. */
  take(wanted: number, now: number): number {
    this.#taken = this.#taken.filter((at) => now - at < windowMs);
    const allowed = Math.min(wanted, this.perMinute - this.#taken.length);
    for (let count = 0; count < allowed; count++) this.#taken.push(now);
    return allowed;
  }
}
