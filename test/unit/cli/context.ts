import type { CliContext } from "../../../src/cli/context.ts";
import { symbolsOf, terminalOf } from "../../../src/cli/terminal.ts";

/** 12:00 UTC of the day on which everything in these tests happens. */
export const noon: number = Date.parse("2026-11-20T12:00:00Z");

/** A context that keeps what is printed; no terminal, UTF-8, UTC. */
export function fakeContext(
  over: Partial<CliContext> & { readonly columns?: number } = {},
): CliContext & { readonly printed: string[]; readonly noted: string[] } {
  const printed: string[] = [];
  const noted: string[] = [];
  const stream = { write: () => true, ...(over.columns === undefined ? {} : { isTTY: true, columns: over.columns }) };
  const terminal = terminalOf(stream, { LANG: "C.UTF-8" }, "never");
  return {
    env: {},
    cwd: "/",
    stdin: (async function* () {})(),
    stdout: stream,
    stderr: stream,
    out: terminal,
    err: terminal,
    symbols: symbolsOf(terminal),
    format: "table",
    utc: true,
    signal: new AbortController().signal,
    now: () => noon,
    print: (text) => void printed.push(text),
    note: (text) => void noted.push(text),
    ...over,
    printed,
    noted,
  };
}
