/**
 * One of a site's own adapters over all reloads: who holds it goes on with the new one when its module or its options have changed, jobs
 * that run included. So a mended module is used for what the broken one began.
 */
export class Current<Adapter extends AsyncDisposable> implements AsyncDisposable {
  #adapter: Adapter;
  #digest: string;
  /** That are not ended yet. */
  readonly #made: Adapter[] = [];
  readonly #listeners = new Set<() => void>();

  constructor(digest: string, make: () => Adapter) {
    this.#adapter = make();
    this.#made.push(this.#adapter);
    this.#digest = digest;
  }

  get adapter(): Adapter {
    return this.#adapter;
  }

  /** Makes a new one if the digest is another. The old one ends with all: calls may be under way. */
  renew(digest: string, make: () => Adapter): void {
    if (digest === this.#digest) return;
    this.#adapter = make();
    this.#made.push(this.#adapter);
    this.#digest = digest;
    for (const listener of this.#listeners) listener();
  }

  /** Calls back after each change. */
  onRenewal(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const one of this.#made.splice(0)) await one[Symbol.asyncDispose]();
  }
}

/** All of one pool, by what they are and where. */
export class CurrentAdapters<Adapter extends AsyncDisposable> {
  readonly #all = new Map<string, Current<Adapter>>();

  /** The one of that key, as it is now. */
  of(key: string, digest: string, make: () => Adapter): Current<Adapter> {
    const known = this.#all.get(key);
    if (known) {
      known.renew(digest, make);
      return known;
    }
    const made = new Current(digest, make);
    this.#all.set(key, made);
    return made;
  }
}
