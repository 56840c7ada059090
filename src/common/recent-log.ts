import type { Logger } from "./logger.ts";

const kept = 20;

/** A logger that also keeps its last lines of level info and above, for `status`. */
export class RecentLog implements Logger {
  readonly #next: Logger;
  readonly #lines: string[];

  constructor(next: Logger, lines: string[] = []) {
    this.#next = next;
    this.#lines = lines;
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
    return new RecentLog(this.#next.child(bindings), this.#lines);
  }

  #keep(level: string, data: object, message: string): void {
    const { err, jobId, to } = data as { err?: { message?: string }; jobId?: string; to?: string };
    const parts = [new Date().toISOString(), level, message, jobId, to, err?.message].filter(
      (part) => part !== undefined,
    );
    this.#lines.push(parts.join(" "));
    if (this.#lines.length > kept) this.#lines.shift();
  }
}
