import { formatSize } from "../../common/units.ts";
import type { CliContext } from "../context.ts";
import { cut, oneLine } from "./text.ts";

const cells = 24;

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

/** `████░░░░ 50%  3 of 6 files  2 MiB of 4 MiB  report.json`, cut to the terminal. */
export function barText(context: CliContext, state: BarState): string {
  const { err, symbols } = context;
  const [full, empty] = err.unicode ? ["█", "░"] : ["#", "."];
  const part = state.total === 0 ? state.count / state.files : state.bytes / state.total;
  const done = Math.round(part * cells);
  const bar = full.repeat(done) + empty.repeat(cells - done);
  const sizes = `${formatSize(state.bytes)} of ${formatSize(state.total)}`;
  const text = `${Math.round(part * 100)}%  ${state.count} of ${state.files} files  ${sizes}  ${oneLine(state.what)}`;
  return `${err.style("cyan", bar)} ${cut(text, Math.max(10, err.columns - cells - 2), symbols.ellipsis)}`;
}
