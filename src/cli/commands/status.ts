import { isFault } from "../../common/fault.ts";
import type { StatusView } from "../../wire/control-api.ts";
import { connectAgent } from "../connect.ts";
import { type CliContext, isMachine, printData } from "../context.ts";
import type { ControlClient } from "../control-client.ts";
import { statusText } from "../format/status.ts";
import { systemClock } from "../../common/clock.ts";
import type { CommandCall } from "../spec.ts";

const refreshMs = 2_000;
const downExit = 2;

/** `siteagent status`: 0 well, 1 degraded, 2 down. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  await using agent = await connectAgent(context, call.options);
  if (call.options.flag("watch")) return await watch(context, agent);
  try {
    const view = await agent.status();
    await tell(context, view);
    return exitOf(view);
  } catch (error) {
    if (!isFault(error, "NO_AGENT")) throw error;
    if (isMachine(context.format)) {
      await printData(context, {
        mode: "down",
        socket: agent.socket,
        problems: [{ what: error.message, repair: error.hint ?? null }],
      });
    } else {
      const { out, symbols } = context;
      context.print(
        `${out.style("red", symbols.bad)} ${out.style("bold", "siteagent")}: ${out.style("red", "down")}: ${error.message}\n`,
      );
      if (error.hint !== undefined) context.print(`  ${symbols.arrow} ${error.hint}\n`);
    }
    return downExit;
  }
}

async function tell(context: CliContext, view: StatusView): Promise<void> {
  if (isMachine(context.format)) await printData(context, view);
  else if (context.format === "name") context.print(`${view.mode}\n`);
  else context.print(await statusText(context, view));
}

/** Well: it claims, or was told not to, and nothing is wrong. */
function exitOf(view: StatusView): number {
  if (view.mode === "stopping" || view.mode === "stopped") return downExit;
  const busyStarting = view.mode === "starting" || view.mode === "reconciling";
  return view.problems.length > 0 || !view.api.reachable || busyStarting ? 1 : 0;
}

/** Until Ctrl-C; the agent may come and go meanwhile. */
async function watch(context: CliContext, agent: ControlClient): Promise<number> {
  if (!context.out.interactive || isMachine(context.format)) return await stream(context, agent);
  const { createLogUpdate } = await import("log-update");
  const screen = createLogUpdate(process.stdout);
  let code = 0;
  while (!context.signal.aborted) {
    const shown = await look(context, agent);
    code = shown.code;
    const time = new Date(context.now()).toTimeString().slice(0, 8);
    screen(`${shown.text}${context.out.style("dim", `${time}, every two seconds; Ctrl-C ends`)}`);
    await systemClock.sleep(refreshMs, context.signal);
  }
  screen.done();
  return code;
}

async function look(
  context: CliContext,
  agent: ControlClient,
): Promise<{ readonly text: string; readonly code: number }> {
  try {
    const view = await agent.status();
    return { text: await statusText(context, view), code: exitOf(view) };
  } catch (error) {
    if (!isFault(error, "NO_AGENT")) throw error;
    return { text: `${context.symbols.bad} down: ${error.message}\n`, code: downExit };
  }
}

/** Without a screen: one object (or text) per look. */
async function stream(context: CliContext, agent: ControlClient): Promise<number> {
  const lines: CliContext = { ...context, format: context.format === "yaml" ? "yaml" : "jsonl" };
  let code = 0;
  while (!context.signal.aborted) {
    const view = await agent.status();
    await printData(lines, view);
    code = exitOf(view);
    await systemClock.sleep(refreshMs, context.signal);
  }
  return code;
}
