import { createLogger } from "../../common/pino.ts";
import type { CliContext } from "../context.ts";
import { existingSiteFile } from "../site-file.ts";
import type { CommandCall } from "../spec.ts";

/** `siteagent run`: the agent in the foreground, its log as JSON lines on standard output. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  const siteFile = existingSiteFile(context, call.options.text("config"));
  if (call.options.flag("dry-run")) return await dryRun(context, siteFile);
  const { runAgent } = await import("../../compose.ts");
  return await runAgent({ siteFile, noClaim: !call.options.notRefused("claim"), log: createLogger() });
}

/** The site file and the machine are checked as before a real start; nothing is claimed and nothing written. */
async function dryRun(context: CliContext, siteFile: string): Promise<number> {
  const { runDoctor } = await import("../doctor/run.ts");
  const { printDoctor } = await import("../format/doctor.ts");
  const report = await runDoctor(siteFile, context);
  await printDoctor(context, report);
  return report.exit;
}
