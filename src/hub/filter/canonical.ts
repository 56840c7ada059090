/** JSON text with the keys of every object sorted: equal values have equal text, whatever the order of keys was. */
export function canonicalJson(text: string): string {
  return canonical(JSON.parse(text));
}

/** As `canonicalJson`, of a value. */
export function canonical(value: unknown): string {
  return JSON.stringify(sorted(value));
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return Object.fromEntries(entries.map(([key, inner]) => [key, sorted(inner)]));
}
