import { type CliContext, isMachine, printData } from "../context.ts";
import type { CheckedFinding, CheckResult, DoctorReport } from "../doctor/types.ts";
import type { Style } from "../terminal.ts";
import { counted, manyLines, wrap } from "./text.ts";

const areas = { machine: "This machine", places: "Directories", site: "Site file", central: "Central API" } as const;
const words: Readonly<Record<CheckResult, string>> = {
  ok: "ok",
  warning: "warning",
  error: "error",
  skipped: "skipped",
};
const styles: Readonly<Record<CheckResult, Style>> = { ok: "green", warning: "yellow", error: "red", skipped: "dim" };
const indent = " ".repeat(13);

/** One line per check, symbol and word; why and the repair below those that are not well. `name`: the ids of these only. */
export async function printDoctor(context: CliContext, report: DoctorReport): Promise<void> {
  if (context.format === "jsonl") await printData(context, report.checks);
  else if (isMachine(context.format)) {
    await printData(context, { site_file: report.siteFile, exit: report.exit, checks: report.checks });
  } else if (context.format === "name") {
    const bad = report.checks.filter((check) => check.result === "warning" || check.result === "error");
    context.print(bad.map((check) => `${check.id}\n`).join(""));
  } else context.print(doctorText(context, report));
}

function doctorText(context: CliContext, report: DoctorReport): string {
  const sections = Object.entries(areas).map(([area, title]) => {
    const lines = report.checks.filter((check) => check.area === area).map((check) => checkText(context, check));
    return `${context.out.style("bold", title)}\n${lines.join("")}`;
  });
  return `${sections.join("\n")}\n${summary(context, report)}\n`;
}

function checkText(context: CliContext, check: CheckedFinding): string {
  const { out, symbols } = context;
  const sign = { ok: symbols.good, warning: symbols.warn, error: symbols.bad, skipped: symbols.skip }[check.result];
  const word = out.style(styles[check.result], `${sign} ${words[check.result].padEnd(8)}`);
  const width = out.columns - indent.length;
  const body = wrap(manyLines(`${check.title}: ${check.found}`), width);
  const lines = body.map((line, at) => (at === 0 ? `  ${word} ${line}` : `${indent}${line}`));
  if (check.why !== undefined)
    lines.push(...wrap(manyLines(check.why), width).map((line) => `${indent}${out.style("dim", line)}`));
  if (check.repair !== undefined) lines.push(`${indent}${symbols.arrow} ${out.style("cyan", manyLines(check.repair))}`);
  return `${lines.join("\n")}\n`;
}

function summary(context: CliContext, report: DoctorReport): string {
  const count = (result: CheckResult): number => report.checks.filter((check) => check.result === result).length;
  const parts = [
    `${counted(report.checks.length, "check")}: ${count("ok")} ok`,
    counted(count("warning"), "warning"),
    counted(count("error"), "error"),
    `${count("skipped")} skipped`,
  ];
  const style: Style = report.exit === 0 ? "green" : report.exit === 1 ? "yellow" : "red";
  return context.out.style(style, parts.join(", "));
}
