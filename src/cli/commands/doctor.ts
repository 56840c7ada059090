import type { CliContext } from "../context.ts";
import { runDoctor } from "../doctor/run.ts";
import { printDoctor } from "../format/doctor.ts";
import { siteFilePath } from "../site-file.ts";
import type { CommandCall } from "../spec.ts";

/** `siteagent doctor`: 0 well, 1 warnings, 2 the agent cannot work. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  const report = await runDoctor(siteFilePath(context, call.options.text("config")), context);
  await printDoctor(context, report);
  return report.exit;
}
