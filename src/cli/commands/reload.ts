import { Fault } from "../../common/fault.ts";
import { connectAgent } from "../connect.ts";
import { type CliContext, isMachine } from "../context.ts";
import { printMode } from "../format/mode.ts";
import { relative } from "../format/time.ts";
import type { CommandCall } from "../spec.ts";

/** `siteagent reload`. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  await using agent = await connectAgent(context, call.options);
  const { config, ...view } = await agent.order("reload");
  if (config.problem !== null) {
    throw new Fault("CONFIG", `the agent keeps its old settings: ${config.problem}`, {
      hint: `siteagent validate '${config.file}'`,
    });
  }
  await printMode(context, { ...view, config });
  if (!isMachine(context.format)) {
    context.note(
      `settings of ${config.file}, loaded ${relative(config.loaded_at, context.now())}, digest ${config.digest.slice(0, 12)}`,
    );
  }
  return 0;
}
