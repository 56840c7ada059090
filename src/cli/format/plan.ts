import type { PlannedFile, PlannedJob } from "../../plan-job.ts";
import type { CliContext } from "../context.ts";
import { shellQuoted } from "../../common/shell.ts";
import { factsText } from "./table.ts";
import { manyLines, oneLine } from "./text.ts";

/** What a site would do with a job, for people. */
export function planText(context: CliContext, plan: PlannedJob): string {
  const { out } = context;
  const facts: (readonly [string, string])[] = [
    ["App", oneLine(`${plan.app} (workflow ${plan.workflow})`)],
    ["Target", oneLine(`${plan.target} (launcher ${plan.launcher} on host ${plan.host})`)],
    ["Directory", oneLine(plan.directory)],
    ["Command", oneLine(plan.argv.map(shellQuoted).join(" "))],
    ["Environment", oneLine(plan.environment.join(" "))],
    ["Resources", oneLine(pairs(plan.resources))],
    ["Parameters", oneLine(pairs(plan.parameters))],
  ];
  const sections = [
    factsText(facts, out),
    filesText(context, "Inputs", plan.inputs),
    filesText(context, "Outputs", plan.outputs),
    scriptText(context, plan.script),
    verdictText(context, plan),
  ];
  return sections.filter((text) => text !== "").join("\n");
}

function scriptText({ out }: CliContext, script: string | null): string {
  if (script === null) return "";
  const lines = script.trimEnd().split("\n");
  return `${out.style("bold", "Job script")}\n${lines.map((line) => `  ${oneLine(line)}`.trimEnd()).join("\n")}\n`;
}

function pairs(values: object): string {
  return Object.entries(values)
    .map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(" ");
}

function filesText(context: CliContext, title: string, files: readonly PlannedFile[]): string {
  const { out, symbols } = context;
  if (files.length === 0) return "";
  const lines = files.map((file) => {
    const verdict = file.allowed
      ? out.style("green", `${symbols.good} allowed`)
      : out.style("red", `${symbols.bad} refused`);
    const reason = file.reason === "" ? "" : out.style("dim", `\n             ${oneLine(file.reason)}`);
    return `  ${verdict}  ${oneLine(file.name)}: ${oneLine(file.url)} (${oneLine(file.path)})${reason}\n`;
  });
  return `${out.style("bold", title)}\n${lines.join("")}`;
}

function verdictText(context: CliContext, plan: PlannedJob): string {
  const { out, symbols } = context;
  if (plan.refused.length === 0) return `${out.style("green", `${symbols.good} this site would run it`)}\n`;
  const reasons = plan.refused.map((reason) => `  ${symbols.arrow} ${manyLines(reason)}\n`);
  return `${out.style("red", `${symbols.bad} this site would refuse it`)}\n${reasons.join("")}`;
}
