import type { JsonValue } from "../common/json.ts";
import type { Symbols, Terminal, TextStream } from "./terminal.ts";

export const outputFormats = ["table", "wide", "name", "json", "jsonl", "yaml"] as const;
export type OutputFormat = (typeof outputFormats)[number];

/** Standard input as commands read it. */
export interface InputStream extends AsyncIterable<Uint8Array | string> {
  readonly isTTY?: boolean | undefined;
}

/** What every command gets: the outside world, and how to speak to it. Data goes to `out`, everything else to `err`. */
export interface CliContext {
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  readonly stdin: InputStream;
  readonly stdout: TextStream;
  readonly stderr: TextStream;
  readonly out: Terminal;
  readonly err: Terminal;
  readonly symbols: Symbols;
  readonly format: OutputFormat;
  /** Times for people in UTC instead of local time. */
  readonly utc: boolean;
  /** Aborts at the first INT or TERM. */
  readonly signal: AbortSignal;
  /** Wall time, milliseconds. */
  now(): number;
  /** Writes data. */
  print(text: string): void;
  /** Writes a remark for people on standard error. */
  note(text: string): void;
}

/** True for the formats that programs read. */
export function isMachine(format: OutputFormat): boolean {
  return format === "json" || format === "jsonl" || format === "yaml";
}

/** Prints data in a machine format: a list is one document (`json`, `yaml`) or one line per item (`jsonl`). */
export async function printData(context: CliContext, data: JsonValue | object): Promise<void> {
  if (context.format === "yaml") {
    const { stringify } = await import("yaml");
    context.print(stringify(data));
  } else if (context.format === "jsonl") {
    const items: readonly unknown[] = Array.isArray(data) ? data : [data];
    for (const item of items) context.print(`${JSON.stringify(item)}\n`);
  } else {
    context.print(`${JSON.stringify(data, null, 2)}\n`);
  }
}
