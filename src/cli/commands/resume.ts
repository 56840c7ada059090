import { connectAgent } from "../connect.ts";
import type { CliContext } from "../context.ts";
import { printMode } from "../format/mode.ts";
import type { CommandCall } from "../spec.ts";

/** `siteagent resume`. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  await using agent = await connectAgent(context, call.options);
  await printMode(context, await agent.order("resume"));
  return 0;
}
