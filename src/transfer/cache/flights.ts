/** What became of a try to fetch a file: it lies in the cache; its job was stopped; anything else. */
export type Landed = "kept" | "stopped" | "lost";

/** Who fetches what at the moment, so that jobs that want the same file wait for one of them. */
export class Flights {
  readonly #under = new Map<string, Flight>();

  /** The flight is the caller's, which must end it; undefined: somebody else's is under way. */
  begin(key: string): Flight | undefined {
    if (this.#under.has(key)) return undefined;
    const flight = new Flight(() => this.#under.delete(key));
    this.#under.set(key, flight);
    return flight;
  }

  /** How the one under way ends; undefined: none is. Never rejects. */
  following(key: string): Promise<Landed> | undefined {
    return this.#under.get(key)?.ended;
  }
}

export class Flight {
  readonly #end = Promise.withResolvers<Landed>();
  readonly #forget: () => void;

  constructor(forget: () => void) {
    this.#forget = forget;
  }

  get ended(): Promise<Landed> {
    return this.#end.promise;
  }

  /** The first word counts. */
  end(landed: Landed): void {
    this.#forget();
    this.#end.resolve(landed);
  }
}
