import { expect, test } from "vitest";
import { allCommands } from "../../../src/cli/declare/all.ts";
import { exitCodes, helpTopics } from "../../../src/cli/help-topics.ts";
import { faults } from "../../../src/common/faults.ts";

test("every fault's exit code is in the table", () => {
  for (const [code, row] of Object.entries(faults)) expect(Object.keys(exitCodes), code).toContain(String(row.exit));
});

test("every exit code that a command names is in the table", () => {
  for (const spec of allCommands) {
    for (const code of Object.keys(spec.exits ?? {})) expect(Object.keys(exitCodes), spec.name).toContain(code);
  }
});

test("help exit-codes tells all codes and all faults", () => {
  const text = helpTopics["exit-codes"]?.(100) ?? "";
  for (const code of Object.keys(exitCodes)) expect(text).toMatch(new RegExp(`^ +${code}  `, "m"));
  for (const code of Object.keys(faults)) expect(text).toContain(code);
});

test("help environment names every variable that a flag stands for", () => {
  const text = helpTopics["environment"]?.(100) ?? "";
  const variables = allCommands.flatMap((spec) => (spec.options ?? []).flatMap((option) => option.env ?? []));
  for (const variable of new Set(variables)) expect(text).toContain(variable);
});

test.each(Object.entries(helpTopics))("help %s fits a terminal of 80 columns", (_, text) => {
  for (const line of text(80).split("\n")) expect(line.length, line).toBeLessThanOrEqual(80);
});
