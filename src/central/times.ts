/** Shortest and longest wait that a server may ask of us. */
const shortestRetryMs = 1_000;
const longestRetryMs = 900_000;

/** Milliseconds since 1970 of an API's time text; without a zone it is UTC. Undefined when it is no time. */
export function utcMs(text: string): number | undefined {
  const zoned = /(?:[zZ]|[+-]\d{2}:?\d{2})$/.test(text) ? text : `${text}Z`;
  const ms = /^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}/.test(text) ? Date.parse(zoned.replace(" ", "T")) : Number.NaN;
  return Number.isNaN(ms) ? undefined : ms;
}

/**
 * What a Retry-After header asks for, milliseconds, plus 0–20 % so that not all come back at once; 1 s to 15 min before that.
 * Undefined when there is none, or it is negative, in the past or neither seconds nor a date.
 */
export function retryAfterMs(header: string | undefined, nowMs: number, random: () => number): number | undefined {
  if (header === undefined) return undefined;
  const text = header.trim();
  let ms = Number.NaN;
  if (/^\d+$/.test(text)) ms = Number(text) * 1_000;
  else if (/^[A-Z][a-z]{2,8},? /.test(text)) ms = Date.parse(text) - nowMs;
  if (Number.isNaN(ms) || ms < 0) return undefined;
  return Math.round(Math.min(Math.max(ms, shortestRetryMs), longestRetryMs) * (1 + 0.2 * random()));
}
