import type { CliContext } from "../context.ts";
import type { CommandCall } from "../spec.ts";

/** `siteagent demo`: hub, agent and jobs in one process tree; the story itself is in src/cli/demo.ts. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  const { demo } = await import("../demo.ts");
  return await demo({ keep: call.options.flag("keep"), fast: call.options.flag("fast"), context });
}
