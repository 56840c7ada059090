/** docs/faults.md: every way in which siteagent refuses or fails, and the exit codes, from src/common/faults.ts. */
import { type FaultRow, faults } from "../../src/common/faults.ts";
import type { GeneratedFile } from "../lib/generated.ts";
import { code, header, table } from "../lib/markdown.ts";

const adviceMeanings = {
  soon: "the same call may succeed in seconds",
  later: "when something outside changes",
  never: "not without a change of the request",
} as const satisfies Record<FaultRow["retry"], string>;

/** Exit codes that no fault has; with those of the table they are all there are. */
const otherExits: readonly (readonly [number, string])[] = [
  [0, "yes, or done"],
  [1, "no: the job failed, not healthy, degraded"],
  [2, "down (`status`, `doctor`)"],
  [76, "drained (agent)"],
  [124, "`wait` timed out"],
  [143, "ended by TERM"],
];

export async function files(): Promise<readonly GeneratedFile[]> {
  return [{ path: "docs/faults.md", content: page() }];
}

function page(): string {
  const rows: readonly (readonly [string, FaultRow])[] = Object.entries(faults);
  return [
    header("Faults and exit codes", "src/common/faults.ts"),
    "Every error has a code of this table, in the API's answers (`code`), in logs (`err.code`) and with `-o json` on standard error. Codes are",
    "never used again with another meaning. The message says what failed, with the value in single quotes; the hint says what to do.",
    "",
    "## Faults",
    "",
    table(
      ["code", "meaning", "try again", "HTTP", "exit"],
      rows.map(([name, row]) => [code(name), row.meaning, row.retry, String(row.http), String(row.exit)]),
    ),
    "",
    "Try again:",
    "",
    ...Object.entries(adviceMeanings).map(([word, meaning]) => `- **${word}**: ${meaning}`),
    "",
    "## Exit codes",
    "",
    table(["exit code", "meaning"], exits(rows)),
    "",
  ].join("\n");
}

function exits(rows: readonly (readonly [string, FaultRow])[]): readonly (readonly string[])[] {
  const byCode = new Map<number, string[]>();
  for (const [exit, meaning] of otherExits) byCode.set(exit, [meaning]);
  for (const [name, { exit }] of rows) byCode.set(exit, [...(byCode.get(exit) ?? []), code(name)]);
  return [...byCode].toSorted(([a], [b]) => a - b).map(([exit, meanings]) => [String(exit), meanings.join(", ")]);
}
