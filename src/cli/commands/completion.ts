import { Fault } from "../../common/fault.ts";
import { quoted } from "../../common/nearest.ts";
import { completionScripts } from "../completion-scripts.ts";
import type { CliContext } from "../context.ts";
import { hintNearest } from "../hints.ts";
import type { CommandCall } from "../spec.ts";

/** `siteagent completion SHELL`. */
export function run(context: CliContext, call: CommandCall): Promise<number> {
  const [shell = ""] = call.args;
  const known = Object.keys(completionScripts);
  const script = Object.entries(completionScripts).find(([name]) => name === shell)?.[1];
  if (script === undefined) {
    throw new Fault("USAGE", `there is no completion for ${quoted(shell)}`, { hint: hintNearest(shell, known) });
  }
  context.print(script);
  return Promise.resolve(0);
}
