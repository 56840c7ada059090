import type { CaseResult } from "../../conformance/run.ts";
import type { CliContext } from "../context.ts";
import { counted, manyLines, oneLine, wrap } from "./text.ts";

const indent = " ".repeat(6);

/** A line for the case, and below it why it failed or does not apply. */
export function caseText(context: CliContext, { group, name, state, reason }: CaseResult): string {
  const { out, symbols } = context;
  const title = oneLine(`${group}: ${name}`);
  switch (state) {
    case "passed":
      return `${out.style("green", `${symbols.good} ok`)}      ${title}\n`;
    case "not-applicable":
      return `${out.style("dim", `${symbols.skip} skipped`)} ${title} (${reason})\n`;
    case "failed": {
      const why = wrap(manyLines(reason ?? ""), out.columns - indent.length).map((line) => `${indent}${line}\n`);
      return `${out.style("red", `${symbols.bad} failed`)}  ${title}\n${why.join("")}`;
    }
  }
}

/** The last line. */
export function conformanceSummary(context: CliContext, results: readonly CaseResult[]): string {
  const count = (state: CaseResult["state"]): number => results.filter((result) => result.state === state).length;
  const failed = count("failed");
  const parts = [`${count("passed")} ok`, `${failed} failed`, `${count("not-applicable")} that do not apply`];
  const text = `${counted(results.length, "case")}: ${parts.join(", ")}`;
  return `${context.out.style(failed === 0 ? "green" : "red", text)}\n`;
}
