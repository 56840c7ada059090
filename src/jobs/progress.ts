import { formatDuration, formatSize } from "../common/units.ts";

/** How far the files of a job are that move now, as wire and command line have it. */
export interface TransferFigures {
  readonly bytes: number;
  readonly total_bytes: number | null;
  readonly files: number;
  readonly total_files: number | null;
  readonly bytes_per_second: number | null;
  readonly eta_seconds: number | null;
}

/** Between 0 and 1; undefined when nobody knows how much it is in all. */
export function progressPart({ bytes, total_bytes, files, total_files }: TransferFigures): number | undefined {
  if (total_bytes !== null && total_bytes > 0) return Math.min(1, Math.max(0, bytes / total_bytes));
  return total_files === null || total_files === 0 ? undefined : files / total_files;
}

/** `42%, 3 of 6 files, 2.0 GiB of 4.8 GiB, 52 MiB/s, 54s left`. */
export function progressText(figures: TransferFigures): string {
  const part = progressPart(figures);
  const of = (done: string, all: string | null): string => (all === null ? done : `${done} of ${all}`);
  const { total_files: files, total_bytes: bytes, bytes_per_second: rate, eta_seconds: eta } = figures;
  return [
    part === undefined ? "" : `${Math.floor(part * 100)}%`,
    `${of(String(figures.files), files === null ? null : String(files))} files`,
    of(formatSize(figures.bytes), bytes === null ? null : formatSize(bytes)),
    rate === null ? "" : `${formatSize(rate)}/s`,
    eta === null ? "" : `${formatDuration(eta * 1000)} left`,
  ]
    .filter((text) => text !== "")
    .join(", ");
}
