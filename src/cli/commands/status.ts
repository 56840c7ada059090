import { stat } from "node:fs/promises";
import { type Fault, isFault } from "../../common/fault.ts";
import type { StatusView } from "../../wire/control-api.ts";
import { siteFileFault } from "../agent-place.ts";
import { connectAgent } from "../connect.ts";
import { type CliContext, isMachine, printData } from "../context.ts";
import type { ControlClient } from "../control-client.ts";
import { statusText } from "../format/status.ts";
import type { Options } from "../options.ts";
import { siteFilePath } from "../site-file.ts";
import { systemClock } from "../../common/clock.ts";
import type { CommandCall } from "../spec.ts";

const refreshMs = 2_000;
const downExit = 2;

/** `siteagent status`: 0 well, 1 degraded, 2 down. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  await using agent = await connectAgent(context, call.options);
  if (call.options.flag("watch")) return await watch(context, () => statusOf(context, agent, call.options));
  try {
    const view = await statusOf(context, agent, call.options);
    await tell(context, view);
    return exitOf(view);
  } catch (error) {
    if (!isDown(error)) throw error;
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

/** Nobody answers; with CONFIG the site file tells why none could be started. */
function isDown(error: unknown): error is Fault {
  return isFault(error, "NO_AGENT") || isFault(error, "CONFIG");
}

/** The agent's view, and what it does not know yet: that its site file has come to be unusable since it was read. */
async function statusOf(context: CliContext, agent: ControlClient, options: Options): Promise<StatusView> {
  const view = await agent.status();
  if (view.config.problem !== null) return view;
  const named = options.text("config") ?? context.env["SITEAGENT_CONFIG"];
  const file = named ? siteFilePath(context, named) : view.config.file;
  const fault = await siteFileFault(file, context.env);
  if (!fault) return view;
  const since = await stat(file).then(
    ({ mtime }) => mtime.toISOString(),
    () => new Date(context.now()).toISOString(),
  );
  const what = `the agent goes on with what it read before; ${fault.message}`;
  const repair = `mend '${file}', then siteagent reload`;
  return { ...view, problems: [...view.problems, { what, since, repair }] };
}

async function tell(context: CliContext, view: StatusView): Promise<void> {
  if (isMachine(context.format)) await printData(context, view);
  else if (context.format === "name") context.print(`${view.mode}\n`);
  else context.print(statusText(context, view));
}

/** Well: it claims, or was told not to, and nothing is wrong. */
function exitOf(view: StatusView): number {
  if (view.mode === "stopping") return downExit;
  const busyStarting = view.mode === "starting" || view.mode === "reconciling";
  return view.problems.length > 0 || !view.api.reachable || busyStarting ? 1 : 0;
}

/** Until Ctrl-C; the agent may come and go meanwhile. */
async function watch(context: CliContext, ask: () => Promise<StatusView>): Promise<number> {
  if (!context.out.interactive || isMachine(context.format)) return await stream(context, ask);
  const { createLogUpdate } = await import("log-update");
  const screen = createLogUpdate(process.stdout);
  let code = 0;
  while (!context.signal.aborted) {
    const shown = await look(context, ask);
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
  ask: () => Promise<StatusView>,
): Promise<{ readonly text: string; readonly code: number }> {
  try {
    const view = await ask();
    return { text: statusText(context, view), code: exitOf(view) };
  } catch (error) {
    if (!isDown(error)) throw error;
    return { text: `${context.symbols.bad} down: ${error.message}\n`, code: downExit };
  }
}

/** Without a screen: one object (or text) per look. */
async function stream(context: CliContext, ask: () => Promise<StatusView>): Promise<number> {
  const lines: CliContext = { ...context, format: context.format === "yaml" ? "yaml" : "jsonl" };
  let code = 0;
  while (!context.signal.aborted) {
    const view = await ask();
    await printData(lines, view);
    code = exitOf(view);
    await systemClock.sleep(refreshMs, context.signal);
  }
  return code;
}
