import { connect } from "../connect.ts";
import { type CliContext, isMachine, printData } from "../context.ts";
import { type Explanation, explain } from "../explain.ts";
import { statusStyle } from "../format/job.ts";
import { manyLines, oneLine, wrap } from "../format/text.ts";
import { relative, timeAndAge } from "../format/time.ts";
import { resolveId } from "../query.ts";
import type { CommandCall } from "../spec.ts";

/** `siteagent explain ID`. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  await using backend = await connect(context, call.options);
  const row = await backend.job(await resolveId(backend, call.args[0] ?? ""));
  const explanation = explain(row, await backend.surroundings(row), context.now());
  if (isMachine(context.format)) await printData(context, explanation);
  else if (context.format === "name") context.print(`${explanation.id}\n`);
  else context.print(explanationText(context, explanation));
  return 0;
}

function explanationText(context: CliContext, explanation: Explanation): string {
  const { out, symbols } = context;
  const now = context.now();
  const status = out.style(statusStyle(explanation.status) ?? "bold", explanation.status);
  const lines = [`${out.style("bold", oneLine(explanation.id))}  ${status}`, ""];
  lines.push(...wrap(manyLines(explanation.why), Math.min(out.columns, 100)), "");
  lines.push(`Since ${timeAndAge(explanation.since, now, context.utc)}.`);
  for (const fact of explanation.facts) lines.push(`  ${symbols.skip} ${oneLine(fact)}`);
  if (explanation.next_try_at !== null) lines.push(`Next try ${relative(explanation.next_try_at, now)}.`);
  if (explanation.do.length === 0) lines.push("Nothing to do.");
  else lines.push("To do:", ...explanation.do.map((text) => `  ${symbols.arrow} ${oneLine(text)}`));
  return `${lines.join("\n")}\n`;
}
