import { Fault } from "../../common/fault.ts";
import { quoted } from "../../common/nearest.ts";
import { STATUS_CODES } from "../../common/node-http.ts";

/** May succeed when asked again. */
const passing = new Set([408, 421, 425, 429, 500, 502, 503, 504, 507, 509, 520, 521, 522, 523, 524, 529]);
const longestRetryAfterMs = 900_000;

/** The fault for a status that is no success. `url` as it may be shown. */
export function statusFault(
  url: string,
  answer: {
    readonly status: number;
    readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  },
  now: number = Date.now(),
): Fault {
  const { status } = answer;
  const message = `${quoted(url, 300)} answered ${status}${STATUS_CODES[status] === undefined ? "" : ` ${STATUS_CODES[status]}`}`;
  if (passing.has(status)) {
    const wait = retryAfterMs(answer.headers["retry-after"], now);
    return new Fault("TRANSFER", message, {
      details: { status, ...(wait === undefined ? {} : { retry_after_ms: wait }) },
    });
  }
  const missing = status === 404 || status === 410;
  const denied = status === 401 || status === 403;
  return new Fault("TRANSFER_REFUSED", message, {
    details: { status, ...(missing ? { missing } : {}) },
    ...(denied ? { hint: "check the credentials of this host, or whether a signed URL has expired" } : {}),
  });
}

/** Milliseconds that `Retry-After` asks for (seconds or a date), at most 15 minutes; undefined for anything else. */
export function retryAfterMs(header: string | readonly string[] | undefined, now: number): number | undefined {
  if (typeof header !== "string") return undefined;
  const text = header.trim();
  if (/^\d{1,15}$/.test(text)) return Math.min(Number(text) * 1000, longestRetryAfterMs);
  if (!/^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/.test(text)) return undefined;
  const at = Date.parse(text);
  return Number.isNaN(at) || at <= now ? undefined : Math.min(at - now, longestRetryAfterMs);
}
