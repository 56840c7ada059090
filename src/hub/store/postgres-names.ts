/** Statements per connection whose plan the server keeps, and how often one must have come before. */
const mostNamed = 100;
const namedFrom = 3;
const mostCounted = 1_000;
/** Answers with whatever columns a table has at the time: a named one would fail when another hub's migration has added one. */
const anyColumns = /^\s*select\s+\*|\breturning\s+\*/i;

/**
 * Names for the statements that one connection is asked again and again: PostgreSQL reads and plans a named one once, which for the
 * few rows of a claim takes longer than doing it. Those that come rarely (lists of ids of many lengths) get none.
 */
export class StatementNames {
  readonly #names = new Map<string, string>();
  #counts = new Map<string, number>();

  /** None for a statement that is rare, or answers with any columns. */
  of(text: string): string | undefined {
    const known = this.#names.get(text);
    if (known !== undefined || this.#names.size >= mostNamed || anyColumns.test(text)) return known;
    const count = (this.#counts.get(text) ?? 0) + 1;
    if (count < namedFrom) {
      if (this.#counts.size >= mostCounted) this.#counts = new Map();
      this.#counts.set(text, count);
      return undefined;
    }
    this.#counts.delete(text);
    const name = `s${this.#names.size}`;
    this.#names.set(text, name);
    return name;
  }
}
