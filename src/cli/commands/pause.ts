import { userInfo } from "node:os";
import { connectAgent } from "../connect.ts";
import type { CliContext } from "../context.ts";
import { printMode } from "../format/mode.ts";
import type { CommandCall } from "../spec.ts";

/** `siteagent pause`. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  const { options } = call;
  const until = options.moment("until", context.now(), true);
  await using agent = await connectAgent(context, options);
  const body = {
    reason: options.text("reason") ?? "",
    by: userInfo().username,
    ...(until === undefined ? {} : { until }),
  };
  await printMode(context, await agent.order("pause", body));
  return 0;
}
