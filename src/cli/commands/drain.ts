import { userInfo } from "node:os";
import { systemClock } from "../../common/clock.ts";
import { Fault, isFault } from "../../common/fault.ts";
import type { StatusView } from "../../wire/control-api.ts";
import { connectAgent } from "../connect.ts";
import type { CliContext } from "../context.ts";
import type { ControlClient } from "../control-client.ts";
import { printMode } from "../format/mode.ts";
import { counted } from "../format/text.ts";
import type { CommandCall } from "../spec.ts";

const pollMs = 1_000;

/** `siteagent drain`. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  const { options } = call;
  const exit = options.flag("exit");
  await using agent = await connectAgent(context, options);
  const view = await agent.order("drain", { reason: options.text("reason") ?? "", exit, by: userInfo().username });
  if (!options.flag("wait")) {
    await printMode(context, view);
    return 0;
  }
  await untilDrained(context, agent, view, exit);
  return 0;
}

async function untilDrained(
  context: CliContext,
  agent: ControlClient,
  first: StatusView,
  exit: boolean,
): Promise<void> {
  let view = first;
  let told = -1;
  while (view.mode !== "drained") {
    if (view.mode === "running" || view.mode === "paused")
      throw new Fault("CANCELLED", `the drain was called off: the agent is ${view.mode}`);
    const held = view.jobs.filter((job) => job.ended_at === null).length;
    if (held !== told) context.note(`draining: ${counted(held, "job")} held`);
    told = held;
    await systemClock.sleep(pollMs, context.signal);
    if (context.signal.aborted) throw new Fault("CANCELLED", "waiting was given up; the agent goes on draining");
    try {
      view = await agent.status();
    } catch (error) {
      if (!exit || !isFault(error, "NO_AGENT")) throw error;
      context.note("the agent has ended");
      return;
    }
  }
  await printMode(context, view);
}
