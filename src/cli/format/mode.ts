import type { StatusView } from "../../wire/control-api.ts";
import { type CliContext, isMachine, printData } from "../context.ts";
import { oneLine } from "./text.ts";
import { timeAndAge } from "./time.ts";

/** What an order to the agent has led to, in one line. */
export async function printMode(context: CliContext, view: StatusView): Promise<void> {
  if (isMachine(context.format)) {
    await printData(context, {
      site: view.site,
      mode: view.mode,
      reason: view.mode_reason,
      by: view.mode_by,
      until: view.mode_until,
      held: view.jobs.filter((job) => job.ended_at === null).length,
      config: view.config,
    });
    return;
  }
  if (context.format === "name") {
    context.print(`${view.mode}\n`);
    return;
  }
  const reason = view.mode_reason === null || view.mode_reason === "" ? "" : `: ${oneLine(view.mode_reason)}`;
  const until = view.mode_until === null ? "" : `, until ${timeAndAge(view.mode_until, context.now(), context.utc)}`;
  context.print(
    `${context.out.style("green", context.symbols.good)} ${oneLine(view.site)} is ${view.mode}${reason}${until}\n`,
  );
}
