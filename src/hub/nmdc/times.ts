/** Times in the three shapes of the contract, and as pydantic reads them. */
export interface DateTime {
  /** Milliseconds since 1970 UTC. A time without a zone is UTC. */
  readonly at: number;
  /** As the reply to the request that creates shows it: same zone, microseconds. */
  readonly text: string;
}

export interface DateTimeFault {
  readonly type: string;
  readonly msg: string;
  readonly error?: string;
}

/** Above this a number is milliseconds, not seconds. */
const watershed = 2e10;

const shape =
  /^(\d{4})-(\d\d)-(\d\d)(?:[Tt _](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?\s*(Z|z|[-+]\d\d(?::?\d\d)?)?)?$/;

export function parseDateTime(value: unknown): DateTime | DateTimeFault {
  if (typeof value === "number") return fromNumber(value);
  if (typeof value !== "string")
    return { type: value === undefined ? "missing" : "datetime_type", msg: "Input should be a valid datetime" };
  const text = value.trim();
  if (/^-?\d+(?:\.\d+)?$/.test(text)) return fromNumber(Number(text));
  const match = shape.exec(text);
  if (!match) return notDateTime(text);
  const [, year = "", month = "", day = "", hour = "00", minute = "00", second = "00", fraction = "", zone = ""] =
    match;
  const micros = fraction.slice(0, 6).padEnd(6, "0");
  const clock = `${year}-${month}-${day}T${hour}:${minute}:${second}`;
  const suffix = zoneSuffix(zone);
  const at = Date.parse(`${clock}.${micros.slice(0, 3)}${suffix === "" ? "Z" : suffix}`);
  if (Number.isNaN(at) || new Date(`${year}-${month}-${day}T00:00:00Z`).getUTCDate() !== Number(day))
    return notDateTime(text);
  return { at, text: `${clock}${micros === "000000" ? "" : `.${micros}`}${suffix}` };
}

function zoneSuffix(zone: string): string {
  if (zone === "" || zone.toUpperCase() === "Z") return zone.toUpperCase();
  const digits = zone.replace(":", "").padEnd(5, "0");
  const text = `${digits.slice(0, 3)}:${digits.slice(3)}`;
  return text === "+00:00" || text === "-00:00" ? "Z" : text;
}

function fromNumber(value: number): DateTime | DateTimeFault {
  const at = Math.round(Math.abs(value) > watershed ? value : value * 1000);
  if (!Number.isFinite(at) || Math.abs(at) > 8.64e15) return notDateTime(String(value));
  return { at, text: utc(at, false) };
}

function notDateTime(text: string): DateTimeFault {
  const error = text.length < 10 ? "input is too short" : "invalid character in year";
  return { type: "datetime_from_date_parsing", msg: `Input should be a valid datetime or date, ${error}`, error };
}

/** `2026-03-01T10:00:00.123000`; without the fraction when it is zero, unless `always`. */
function clock(ms: number, always: boolean): string {
  const iso = new Date(ms).toISOString();
  const fraction = iso.slice(20, 23);
  return fraction === "000" && !always ? iso.slice(0, 19) : `${iso.slice(0, 19)}.${fraction}000`;
}

/** In the reply that creates a thing: `2026-03-01T10:00:00.123000Z`. */
export function utc(ms: number, always = true): string {
  return `${clock(ms, always)}Z`;
}

/** In every later read: no zone, though it is UTC. */
export function naive(ms: number): string {
  return clock(ms, false);
}
