import { formatDuration, formatSize } from "../../common/units.ts";
import { progressPart, progressText } from "../../jobs/progress.ts";
import type { TransferProgress } from "../../wire/common.ts";
import type { CliContext } from "../context.ts";
import type { Terminal } from "../terminal.ts";
import { counted, cut, oneLine } from "./text.ts";

const cells = 24;
/** In a column of a table. */
const fewCells = 8;

export interface Progress {
  begin(what: string): void;
  end(bytes: number): void;
  close(): void;
}

/** A bar on standard error while files are fetched; nothing at all where that is no terminal. */
export async function progressBar(
  context: CliContext,
  files: readonly { readonly bytes: number }[],
): Promise<Progress> {
  if (!context.err.interactive || files.length === 0) return { begin: () => {}, end: () => {}, close: () => {} };
  const { createLogUpdate } = await import("log-update");
  const screen = createLogUpdate(process.stderr, { showCursor: true });
  const total = files.reduce((sum, file) => sum + file.bytes, 0);
  let count = 0;
  let bytes = 0;
  return {
    begin: (what) => screen(barText(context, { count, files: files.length, bytes, total, what })),
    end(more) {
      count++;
      bytes += more;
      screen.clear();
    },
    close() {
      screen.clear();
      screen.done();
    },
  };
}

export interface BarState {
  readonly count: number;
  readonly files: number;
  readonly bytes: number;
  readonly total: number;
  readonly what: string;
}

/** `██████░░░░░░` */
function bar(terminal: Terminal, part: number, length = cells): string {
  const [full, empty] = terminal.unicode ? ["█", "░"] : ["#", "."];
  const done = Math.round(part * length);
  return full.repeat(done) + empty.repeat(length - done);
}

/** `██████░░░░░░ inputs: 50%, 3 of 6 files, 2 MiB of 4 MiB, 52 MiB/s, 1s left`; without the bar when it is not known how much there is. */
export function transferText(context: CliContext, progress: TransferProgress): string {
  const part = progressPart(progress);
  const text = `${progress.stage}: ${progressText(progress)}`;
  return part === undefined ? text : `${bar(context.out, part)} ${text}`;
}

/** `██░░░░░░ 25%  59s left  52 MiB/s  3 of 6 files  1 GiB of 4 GiB`: what matters most comes first, for the rest may be cut off. */
export function liveText({ out }: CliContext, progress: TransferProgress): string {
  const part = progressPart(progress);
  const { total_files: files, total_bytes: bytes, bytes_per_second: rate, eta_seconds: eta } = progress;
  return [
    part === undefined ? "" : `${bar(out, part, fewCells)} ${Math.floor(part * 100)}%`,
    eta === null ? "" : `${formatDuration(eta * 1000)} left`,
    rate === null ? "" : `${formatSize(rate)}/s`,
    files === null ? counted(progress.files, "file") : `${progress.files} of ${counted(files, "file")}`,
    bytes === null ? formatSize(progress.bytes) : `${formatSize(progress.bytes)} of ${formatSize(bytes)}`,
  ]
    .filter((text) => text !== "")
    .join("  ");
}

/** `████░░░░ 50%  3 of 6 files  2 MiB of 4 MiB  report.json`, cut to the terminal. */
export function barText(context: CliContext, state: BarState): string {
  const { err, symbols } = context;
  const part = state.total === 0 ? state.count / state.files : state.bytes / state.total;
  const sizes = `${formatSize(state.bytes)} of ${formatSize(state.total)}`;
  const text = `${Math.round(part * 100)}%  ${state.count} of ${state.files} files  ${sizes}  ${oneLine(state.what)}`;
  return `${err.style("cyan", bar(err, part))} ${cut(text, Math.max(10, err.columns - cells - 2), symbols.ellipsis)}`;
}
