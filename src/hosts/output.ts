import { StringDecoder } from "node:string_decoder";

/**
 * Output of one stream, up to a limit; what is more is read and dropped, so that the command never blocks on a full pipe. It becomes text as it
 * comes, so that tens of megabytes hold up nobody when they are there.
 */
export class CappedOutput {
  readonly #limit: number;
  readonly #decoder = new StringDecoder("utf8");
  readonly #parts: string[] = [];
  #bytes = 0;
  truncated = false;

  constructor(limit: number) {
    this.#limit = limit;
  }

  take(chunk: Buffer): void {
    const kept = chunk.subarray(0, Math.max(0, this.#limit - this.#bytes));
    if (kept.length < chunk.length) this.truncated = true;
    if (kept.length === 0) return;
    this.#parts.push(this.#decoder.write(kept));
    this.#bytes += kept.length;
  }

  /** As UTF-8; bytes that are none become U+FFFD. Nothing is taken any more after it was asked for. */
  get text(): string {
    this.#parts.push(this.#decoder.end());
    return this.#parts.join("");
  }
}
