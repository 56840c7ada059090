import { runDemo } from "../demo/demo.ts";
import type { CliContext } from "./context.ts";

export async function demo(options: {
  readonly keep: boolean;
  readonly fast: boolean;
  readonly context: CliContext;
}): Promise<number> {
  return runDemo({
    keep: options.keep,
    stdout: options.context.stdout as NodeJS.WritableStream,
    signal: options.context.signal,
  });
}
