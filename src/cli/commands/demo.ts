import { resolve } from "node:path";
import type { CliContext } from "../context.ts";
import type { CommandCall } from "../spec.ts";

/** `siteagent demo`: hub, agent and jobs in one process tree; the story itself is in src/demo. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  const { runDemo } = await import("../../demo/demo.ts");
  const directory = call.options.text("directory");
  return await runDemo({
    keep: call.options.flag("keep"),
    ...(directory === undefined ? {} : { directory: resolve(context.cwd, directory) }),
    stdout: process.stdout,
    signal: context.signal,
  });
}
