import { connect } from "../connect.ts";
import { type CliContext, isMachine, printData } from "../context.ts";
import { storyText } from "../format/story.ts";
import { resolveId } from "../query.ts";
import type { CommandCall } from "../spec.ts";

/** `siteagent job ID`. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  await using backend = await connect(context, call.options);
  const story = await backend.story(await resolveId(backend, call.args[0] ?? ""));
  if (isMachine(context.format)) await printData(context, story.raw);
  else if (context.format === "name") context.print(`${story.row.id}\n`);
  else context.print(storyText(context, story));
  return 0;
}
