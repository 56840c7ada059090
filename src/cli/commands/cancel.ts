import { connect } from "../connect.ts";
import type { CliContext } from "../context.ts";
import { printResults } from "../format/results.ts";
import { selection } from "../query.ts";
import type { CommandCall } from "../spec.ts";

/** `siteagent cancel`. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  const { options } = call;
  await using backend = await connect(context, options);
  const ids = await selection(context, backend, call.args, options, { verb: "Cancel", active: true });
  const results = await backend.cancel(ids, options.text("reason") ?? "", options.flag("force"));
  return await printResults(context, results, { requested: "cancel requested", done: "cancelled" });
}
