import { resolve } from "node:path";
import { Fault } from "../../common/fault.ts";
import { loadForConformance, tryAdapter } from "../../compose-conformance.ts";
import type { CaseResult } from "../../conformance/run.ts";
import { type CliContext, isMachine, printData } from "../context.ts";
import { caseText, conformanceSummary } from "../format/conformance.ts";
import type { CommandCall } from "../spec.ts";

/** `siteagent conformance MODULE`: 0 every case that applies passed, 1 one did not. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  const loaded = await loadForConformance(resolve(context.cwd, call.args[0] ?? ""));
  const only = call.options.list("case");
  const wanted = (title: string): boolean => only.length === 0 || only.some((part) => title.includes(part));
  const results: CaseResult[] = [];
  for await (const result of tryAdapter(loaded, wanted)) {
    results.push(result);
    if (context.format === "jsonl") await printData(context, result);
    else if (context.format === "name") context.print(result.state === "failed" ? `${titleOf(result)}\n` : "");
    else if (!isMachine(context.format)) context.print(caseText(context, result));
    if (context.signal.aborted) break;
  }
  if (results.length === 0)
    throw new Fault("USAGE", `no case has ${only.map((part) => `'${part}'`).join(" or ")} in its title`);
  const failed = results.some(({ state }) => state === "failed");
  if (context.format === "json" || context.format === "yaml") {
    const { path, digest, adapter } = loaded;
    const { type, contract } = adapter;
    await printData(context, { module: path, digest, type, contract, passed: !failed, cases: results });
  } else if (!isMachine(context.format) && context.format !== "name")
    context.print(conformanceSummary(context, results));
  return failed ? 1 : 0;
}

function titleOf({ group, name }: CaseResult): string {
  return `${group}: ${name}`;
}
