import { Fault } from "../../common/fault.ts";
import { quoted } from "../../common/nearest.ts";
import type { CliContext } from "../context.ts";
import { helpTopics } from "../help-topics.ts";
import { hintNearest } from "../hints.ts";
import { buildProgram } from "../program.ts";
import type { CommandCall } from "../spec.ts";

/** Columns; longer lines are hard to read. */
const helpWidth = 120;

/** `siteagent help [topic]`. */
export function run(context: CliContext, call: CommandCall): Promise<number> {
  const [topic] = call.args;
  const text = topic === undefined ? undefined : Object.entries(helpTopics).find(([name]) => name === topic)?.[1];
  if (text) {
    context.print(text(Math.min(context.out.columns, helpWidth)));
    return Promise.resolve(0);
  }
  let command = buildProgram(process, () => Promise.resolve());
  for (const word of call.args) {
    const below = command.commands.find((one) => one.name() === word);
    if (!below) {
      const known = [...command.commands.map((one) => one.name()), ...(command.parent ? [] : Object.keys(helpTopics))];
      throw new Fault("USAGE", `there is no help on ${quoted(word)}`, { hint: hintNearest(word, known) });
    }
    command = below;
  }
  command.outputHelp();
  return Promise.resolve(0);
}
