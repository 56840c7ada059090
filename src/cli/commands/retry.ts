import { connectHub } from "../connect.ts";
import type { CliContext } from "../context.ts";
import { printResults } from "../format/results.ts";
import { selection } from "../query.ts";
import type { CommandCall } from "../spec.ts";

/** `siteagent retry`. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  const { options } = call;
  await using backend = await connectHub(context, options);
  const ids = await selection(context, backend, call.args, options, { verb: "Retry", active: false });
  const results = await backend.retry(ids, options.text("reason") ?? "");
  return await printResults(context, results, { requested: "retried", done: "retried" });
}
