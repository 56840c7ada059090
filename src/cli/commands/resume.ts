import { connectAgent } from "../connect.ts";
import { type CliContext, isMachine, printData } from "../context.ts";
import { printMode } from "../format/mode.ts";
import type { CommandCall } from "../spec.ts";

/** `siteagent resume`: the agent, or with an id one job that is paused or quarantined. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  await using agent = await connectAgent(context, call.options);
  const [id] = call.args;
  if (id !== undefined) {
    const { result } = await agent.resumeJob(id);
    if (isMachine(context.format)) await printData(context, { id, result });
    else context.print(`${id} goes on\n`);
    return 0;
  }
  await printMode(context, await agent.order("resume"));
  return 0;
}
