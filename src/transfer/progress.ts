import type { Clock } from "../common/clock.ts";
import type { PlannedFile } from "./plan.ts";
import type { Progress } from "./types.ts";

/** At most one call in this time; the last state is always told. */
const leastPauseMs = 500;

/** Sums up what all files of a run have moved and tells it, not too often. Figures are those of the whole run. */
export class ProgressMeter {
  readonly #tell: ((progress: Progress) => void) | undefined;
  readonly #clock: Clock;
  readonly #totalFiles: number;
  readonly #totalBytes: number | undefined;
  #bytes = 0;
  #files = 0;
  #toldAt = -Infinity;

  constructor(tell: ((progress: Progress) => void) | undefined, clock: Clock, files: readonly PlannedFile[]) {
    this.#tell = tell;
    this.#clock = clock;
    this.#totalFiles = files.length;
    this.#totalBytes = files.reduce<number | undefined>(
      (sum, file) => (sum === undefined || file.bytes === undefined ? undefined : sum + file.bytes),
      0,
    );
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
    this.#tell?.({
      item: file.item.name,
      path: file.path,
      bytes: this.#bytes,
      totalBytes: this.#totalBytes,
      files: this.#files,
      totalFiles: this.#totalFiles,
    });
  }
}
