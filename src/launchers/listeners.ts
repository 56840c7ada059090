import type { Token } from "../common/token.ts";

/** Who wants to know that an attempt probably changed. */
export class Listeners {
  readonly #all = new Set<(token: Token) => void>();

  add(onChange: (token: Token) => void): Disposable {
    this.#all.add(onChange);
    return { [Symbol.dispose]: () => void this.#all.delete(onChange) };
  }

  tell(token: Token): void {
    for (const listener of this.#all) listener(token);
  }
}
