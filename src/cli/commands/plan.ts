import { Fault } from "../../common/fault.ts";
import type { JsonValue } from "../../common/json.ts";
import { quoted } from "../../common/nearest.ts";
import { type CliContext, isMachine, printData } from "../context.ts";
import { planText } from "../format/plan.ts";
import { readText } from "../input.ts";
import { existingSiteFile } from "../site-file.ts";
import type { CommandCall } from "../spec.ts";

/** `siteagent plan JOB.json`. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  const siteFile = existingSiteFile(context, call.options.text("config"));
  const name = call.args[0] ?? "-";
  const job = parsed(await readText(context, name), name === "-" ? "standard input" : quoted(name));
  const { planJob } = await import("../../plan-job.ts");
  const plan = await planJob(siteFile, job);
  if (isMachine(context.format)) await printData(context, plan);
  else if (context.format === "name") context.print(`${plan.app}\n`);
  else context.print(planText(context, plan));
  return plan.refused.length === 0 ? 0 : 1;
}

function parsed(text: string, name: string): JsonValue {
  try {
    return JSON.parse(text) as JsonValue;
  } catch (error) {
    throw new Fault("INVALID", `${name} is no JSON: ${error instanceof Error ? error.message : ""}`, { cause: error });
  }
}
