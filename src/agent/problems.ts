import { type Clock, isoTime } from "../common/clock.ts";

export interface Problem {
  readonly what: string;
  /** ISO 8601. */
  readonly since: string;
  readonly repair?: string;
}

/** What is wrong now, for status; each under a key so that it goes away when it is mended. */
export class Problems {
  readonly #clock: Clock;
  readonly #current = new Map<string, Problem>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  set(key: string, what: string, repair?: string): void {
    const since = this.#current.get(key)?.since ?? isoTime(this.#clock.now());
    this.#current.set(key, repair === undefined ? { what, since } : { what, since, repair });
  }

  clear(key: string): void {
    this.#current.delete(key);
  }

  /** Those whose key is `prefix` and a name that is not among `names` are mended. */
  keepOnly(prefix: string, names: ReadonlySet<string>): void {
    for (const key of this.#current.keys())
      if (key.startsWith(prefix) && !names.has(key.slice(prefix.length))) this.#current.delete(key);
  }

  find(key: string): Problem | undefined {
    return this.#current.get(key);
  }

  list(): readonly Problem[] {
    return [...this.#current.values()];
  }
}
