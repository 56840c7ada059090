import { Fault } from "../common/fault.ts";
import { quoted } from "../common/nearest.ts";
import { parseDuration } from "../common/units.ts";

/** What was given on the command line, read by name (`idempotency-key`) and kind. */
export class Options {
  readonly #values: Readonly<Record<string, unknown>>;

  constructor(values: Readonly<Record<string, unknown>>) {
    this.#values = values;
  }

  flag(name: string): boolean {
    return this.#value(name) === true;
  }

  /** False only when `--no-<name>` was given. */
  notRefused(name: string): boolean {
    return this.#value(name) !== false;
  }

  text(name: string): string | undefined {
    const value = this.#value(name);
    return typeof value === "string" ? value : undefined;
  }

  list(name: string): readonly string[] {
    const value = this.#value(name);
    return Array.isArray(value) ? value.map(String) : typeof value === "string" ? [value] : [];
  }

  given(name: string): boolean {
    return this.#value(name) !== undefined;
  }

  /** @throws Fault USAGE when it is no whole number from `minimum` to `maximum`. */
  integer(name: string, minimum: number, maximum: number): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const value = Number(text);
    if (/^-?\d+$/.test(text) && value >= minimum && value <= maximum) return value;
    throw new Fault("USAGE", `--${name} ${quoted(text)} is not a whole number from ${minimum} to ${maximum}`);
  }

  /** Milliseconds. @throws Fault USAGE. */
  durationMs(name: string): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const ms = parseDuration(text);
    if (ms !== undefined) return ms;
    throw new Fault("USAGE", `--${name} ${quoted(text)} is not a duration`, { hint: "write 90s, 5m, 1h30m, 2d" });
  }

  /** A moment as ISO 8601 in UTC: a time, a date, or a duration counted back (`ahead`: forward) from `now`. @throws Fault USAGE. */
  moment(name: string, now: number, ahead = false): string | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const ms = parseDuration(text);
    if (ms !== undefined) return new Date(ahead ? now + ms : now - ms).toISOString();
    const time = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text.replace(" ", "T")) : Number.NaN;
    if (!Number.isNaN(time)) return new Date(time).toISOString();
    throw new Fault("USAGE", `--${name} ${quoted(text)} is neither a duration nor a time`, {
      hint: "write 6h, 2d, 2026-11-20 or 2026-11-20T08:00Z",
    });
  }

  #value(name: string): unknown {
    return this.#values[name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())];
  }
}

/** `k=v` → [k, v]. @throws Fault USAGE. */
export function keyValue(flag: string, text: string): [string, string] {
  const at = text.indexOf("=");
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
  throw new Fault("USAGE", `--${flag} ${quoted(text)} is not key=value`);
}
