/** Output of one stream, up to a limit; what is more is read and dropped, so that the command never blocks on a full pipe. */
export class CappedOutput {
  readonly #limit: number;
  readonly #chunks: Buffer[] = [];
  #bytes = 0;
  truncated = false;

  constructor(limit: number) {
    this.#limit = limit;
  }

  take(chunk: Buffer): void {
    const kept = chunk.subarray(0, Math.max(0, this.#limit - this.#bytes));
    if (kept.length < chunk.length) this.truncated = true;
    if (kept.length === 0) return;
    this.#chunks.push(kept);
    this.#bytes += kept.length;
  }

  /** As UTF-8; bytes that are none become U+FFFD. */
  get text(): string {
    return Buffer.concat(this.#chunks).toString("utf8");
  }
}
