import { describe, expect, test } from "vitest";
import { allCommands } from "../../../src/cli/declare/all.ts";
import { buildProgram } from "../../../src/cli/program.ts";
import type { CommandSpec } from "../../../src/cli/spec.ts";

function walk(
  specs: readonly CommandSpec[],
  path = "",
): readonly { readonly path: string; readonly spec: CommandSpec }[] {
  return specs.flatMap((spec) => {
    const full = `${path}${spec.name}`;
    return [{ path: full, spec }, ...walk(spec.subcommands ?? [], `${full} `)];
  });
}

const commands = walk(allCommands);

describe.each(commands)("siteagent $path", ({ path, spec }) => {
  test("has a summary of one line without a full stop", () => {
    expect(spec.summary).toMatch(/^\S.{5,100}[^.]$/);
  });

  test("has an example that begins with the command, or uses it", () => {
    expect(spec.examples.length).toBeGreaterThan(0);
    for (const { command, what } of spec.examples) {
      expect(command).toContain(`siteagent ${path}`);
      expect(what).not.toBe("");
    }
  });

  test("describes every flag and argument, and names no flag twice", () => {
    const flags = (spec.options ?? []).flatMap((option) => option.flags.match(/(?<=^|[ ,])--?[\w-]+/g) ?? []);
    expect(new Set(flags).size).toBe(flags.length);
    for (const option of spec.options ?? []) {
      expect(option.flags).toMatch(/--[a-z]/);
      expect(option.description.length, option.flags).toBeGreaterThan(4);
    }
    for (const argument of spec.arguments ?? []) expect(argument.description.length).toBeGreaterThan(4);
  });

  test("has code, or subcommands", async () => {
    if (!spec.load) {
      expect(spec.subcommands?.length).toBeGreaterThan(0);
      return;
    }
    expect(typeof (await spec.load()).run).toBe("function");
  });

  test("uses no flag of its examples that it does not have", () => {
    const known = new Set(["--output", "-o", "--color", "--utc", "--help", "-h"]);
    for (const option of spec.options ?? []) for (const flag of option.flags.match(/--?[\w-]+/g) ?? []) known.add(flag);
    for (const { command } of spec.examples) {
      const own = command.slice(command.indexOf(`siteagent ${path}`)).split(/[|><&]/, 1)[0] ?? "";
      for (const flag of own.replaceAll(/'[^']*'/g, "").match(/(?<=\s)--?[a-z][\w-]*/g) ?? []) {
        if (!spec.subcommands) expect([...known], `${command}: ${flag}`).toContain(flag);
      }
    }
  });
});

test("commander takes every declaration, with help for each", () => {
  let told = "";
  const stream = { write: (text: string) => ((told += text), true) } as unknown as NodeJS.WriteStream & { fd: 1 };
  const program = buildProgram(
    { stdout: stream, stderr: stream as unknown as NodeJS.WriteStream & { fd: 2 }, env: {} },
    () => Promise.resolve(),
  );
  program.outputHelp();
  for (const spec of allCommands) expect(told).toContain(`\n  ${spec.name}`);
});
