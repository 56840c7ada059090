import type { Logger } from "./logger.ts";

const kept = 20;

/** What of a line's data is worth a word. */
interface Told {
  readonly err?: { readonly message?: string };
  readonly jobId?: string;
  readonly to?: string;
  readonly mode?: string;
}

/** A logger that also keeps its last lines of level info and above, for `status`. */
export class RecentLog implements Logger {
  readonly #next: Logger;
  readonly #lines: string[];
  readonly #bindings: object;

  constructor(next: Logger, lines: string[] = [], bindings: object = {}) {
    this.#next = next;
    this.#lines = lines;
    this.#bindings = bindings;
  }

  get lines(): readonly string[] {
    return this.#lines;
  }

  debug(data: object, message: string): void {
    this.#next.debug(data, message);
  }

  info(data: object, message: string): void {
    this.#keep("info", data, message);
    this.#next.info(data, message);
  }

  warn(data: object, message: string): void {
    this.#keep("warn", data, message);
    this.#next.warn(data, message);
  }

  error(data: object, message: string): void {
    this.#keep("error", data, message);
    this.#next.error(data, message);
  }

  child(bindings: object): Logger {
    return new RecentLog(this.#next.child(bindings), this.#lines, { ...this.#bindings, ...bindings });
  }

  #keep(level: string, data: object, message: string): void {
    const told: Told = { ...this.#bindings, ...data };
    const { err, jobId, to, mode } = told;
    const parts = [new Date().toISOString(), level, message, jobId, to, mode, err?.message].filter(
      (part) => part !== undefined,
    );
    this.#lines.push(parts.join(" "));
    if (this.#lines.length > kept) this.#lines.shift();
  }
}
