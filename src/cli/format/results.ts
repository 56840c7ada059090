import type { ActionResult } from "../../sdk/client.ts";
import { type CliContext, isMachine, printData } from "../context.ts";
import { oneLine } from "./text.ts";

const words: Readonly<Record<ActionResult["result"], string>> = {
  requested: "requested",
  done: "done",
  "already-ended": "had ended already",
  "not-found": "no such job",
  refused: "refused",
};

/** A line per job; exit code 1 when one was not found or refused. */
export async function printResults(
  context: CliContext,
  results: readonly ActionResult[],
  good: { readonly requested: string; readonly done: string },
): Promise<number> {
  if (context.format === "jsonl") await printData(context, results);
  else if (isMachine(context.format)) await printData(context, { results });
  else if (context.format === "name")
    context.print(results.map((result) => `${result.job?.id ?? result.id}\n`).join(""));
  else for (const result of results) context.print(`${resultText(context, result, good)}\n`);
  return results.every(isGood) ? 0 : 1;
}

function isGood({ result }: ActionResult): boolean {
  return result !== "not-found" && result !== "refused";
}

function resultText(
  context: CliContext,
  result: ActionResult,
  good: { readonly requested: string; readonly done: string },
): string {
  const { symbols, out } = context;
  const ok = isGood(result);
  const what = result.result === "requested" || result.result === "done" ? good[result.result] : words[result.result];
  const idle = result.result === "already-ended";
  const sign = idle ? symbols.skip : ok ? out.style("green", symbols.good) : out.style("red", symbols.bad);
  const made = result.job && result.job.id !== result.id ? ` ${symbols.arrow} ${oneLine(result.job.id)}` : "";
  const detail = result.detail === undefined || result.detail === "" ? "" : `: ${oneLine(result.detail)}`;
  return `${sign} ${oneLine(result.id)}${made}  ${what}${detail}`;
}
