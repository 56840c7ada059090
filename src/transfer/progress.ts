import type { Clock } from "../common/clock.ts";
import type { PlannedFile, PlanTotals } from "./plan.ts";
import type { Progress } from "./types.ts";

/** At most one call in this time; the last state is always told. */
const leastPauseMs = 500;

/** The rate is that of so long. */
const windowMs = 20_000;
/** In less time a rate says nothing. */
const leastWindowMs = 1_000;

/** Sums up what all files of a run have moved and tells it, not too often. Figures are those of the whole run. */
export class ProgressMeter {
  readonly #tell: ((progress: Progress) => void) | undefined;
  readonly #clock: Clock;
  readonly #totalFiles: number;
  readonly #totalBytes: number | undefined;
  #bytes = 0;
  #files = 0;
  #toldAt = -Infinity;
  /** Bytes at earlier moments, the oldest first. */
  readonly #seen: { readonly at: number; readonly bytes: number }[] = [];

  constructor(tell: ((progress: Progress) => void) | undefined, clock: Clock, totals: PlanTotals) {
    this.#tell = tell;
    this.#clock = clock;
    this.#totalFiles = totals.files;
    this.#totalBytes = totals.bytes;
    this.#seen.push({ at: clock.monotonic(), bytes: 0 });
  }

  moved(file: PlannedFile, bytes: number): void {
    if (bytes === 0) return;
    this.#bytes += bytes;
    const now = this.#clock.monotonic();
    if (now - this.#toldAt >= leastPauseMs) this.#report(file, now);
  }

  finished(file: PlannedFile): void {
    this.#files += 1;
    const now = this.#clock.monotonic();
    if (this.#files === this.#totalFiles || now - this.#toldAt >= leastPauseMs) this.#report(file, now);
  }

  #report(file: PlannedFile, now: number): void {
    this.#toldAt = now;
    const bytesPerSecond = this.#rate(now);
    const left = this.#totalBytes === undefined ? undefined : this.#totalBytes - this.#bytes;
    this.#tell?.({
      item: file.item.name,
      path: file.path,
      bytes: this.#bytes,
      totalBytes: this.#totalBytes,
      files: this.#files,
      totalFiles: this.#totalFiles,
      bytesPerSecond,
      etaMs: left === undefined || !bytesPerSecond ? undefined : Math.max(0, (left / bytesPerSecond) * 1000),
    });
  }

  #rate(now: number): number | undefined {
    this.#seen.push({ at: now, bytes: this.#bytes });
    while ((this.#seen[1]?.at ?? now) <= now - windowMs) this.#seen.shift();
    const [oldest] = this.#seen;
    if (!oldest || now - oldest.at < leastWindowMs) return undefined;
    return Math.max(0, ((this.#bytes - oldest.bytes) / (now - oldest.at)) * 1000);
  }
}
