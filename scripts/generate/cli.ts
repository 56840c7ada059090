/** docs/cli.md: every command with its help, made from the declarations that the program itself uses. */
import type { Command } from "commander";
import { allCommands } from "../../src/cli/declare/all.ts";
import { environmentVariables, exitCodes, helpTopics } from "../../src/cli/help-topics.ts";
import { buildProgram } from "../../src/cli/program.ts";
import type { CommandSpec } from "../../src/cli/spec.ts";
import { faults } from "../../src/common/faults.ts";
import type { GeneratedFile } from "../lib/generated.ts";

const columns = 100;

export function files(): Promise<readonly GeneratedFile[]> {
  const program = buildProgram({ stdout: plainStream(), stderr: plainStream(), env: { LANG: "C.UTF-8" } }, () =>
    Promise.resolve(),
  );
  return Promise.resolve([{ path: "docs/cli.md", content: page(program) }]);
}

/** Help as it looks outside of a terminal, always with the same width. */
function plainStream(): NodeJS.WriteStream & { fd: 1 } & { fd: 2 } {
  return { columns, write: () => true } as unknown as NodeJS.WriteStream & { fd: 1 } & { fd: 2 };
}

function page(program: Command): string {
  const groups = new Map<string, CommandSpec[]>();
  for (const spec of allCommands) groups.set(spec.group, [...(groups.get(spec.group) ?? []), spec]);
  const sections = [...groups].map(([group, specs]) => {
    const texts = specs.map((spec) => commandSection(spec, below(program, spec.name), "siteagent", 3));
    return `## ${group.replace(/:$/, "")}\n\n${texts.join("\n")}`;
  });
  return `<!-- Made by scripts/generate/cli.ts; change the declarations in src/cli/declare/ instead. -->

# The command line

\`siteagent COMMAND\`. Data goes to standard output, everything else to standard error. Job commands ask a hub (\`--hub\`,
\`SITEAGENT_HUB\`, or the profile that \`siteagent login\` writes), and with \`--local\` the agent on this machine; \`status\`, \`doctor\`,
\`pause\`, \`resume\`, \`drain\` and \`reload\` always mean the agent.

\`\`\`text
${program.helpInformation().trimEnd()}
\`\`\`

${sections.join("\n")}
## Exit codes

${table(["code", "meaning"], Object.entries(exitCodes))}

Each fault has one of them:

${table(
  ["exit code", "fault", "meaning"],
  Object.entries(faults).map(([code, row]) => [String(row.exit), `\`${code}\``, row.meaning]),
)}

## Environment

${table(
  ["variable", "meaning"],
  Object.entries(environmentVariables).map(([name, text]) => [`\`${name}\``, text]),
)}

\`\`\`text
${(helpTopics["environment"]?.(120) ?? "").split("\n\n").slice(1).join("\n\n").trimEnd()}
\`\`\`

## Formats

\`\`\`text
${(helpTopics["formats"]?.(120) ?? "").trimEnd()}
\`\`\`
`;
}

function commandSection(spec: CommandSpec, command: Command, path: string, level: number): string {
  const full = `${path} ${spec.name}`;
  const parts = [`${"#".repeat(level)} ${full}`, "", sentence(spec.summary), ""];
  if (spec.details !== undefined) parts.push(spec.details, "");
  parts.push("```text", `${full} ${command.usage()}`, "```", "");
  parts.push(...argumentsPart(spec), ...optionsPart(spec));
  parts.push("```sh", ...spec.examples.flatMap(({ command: line, what }) => [`# ${what}`, line]), "```", "");
  const exits = Object.entries(spec.exits ?? {});
  if (exits.length > 0) parts.push(table(["exit code", "meaning"], exits), "");
  const subs = (spec.subcommands ?? []).map((sub) => commandSection(sub, below(command, sub.name), full, level + 1));
  return [...parts, ...subs].join("\n");
}

function argumentsPart(spec: CommandSpec): readonly string[] {
  const rows = (spec.arguments ?? []).map(({ name, description }) => [`\`${name}\``, description]);
  return rows.length === 0 ? [] : [table(["argument", "meaning"], rows), ""];
}

function optionsPart(spec: CommandSpec): readonly string[] {
  const rows = (spec.options ?? []).map((option) => {
    const more = [
      option.choices ? `one of ${option.choices.join(", ")}` : "",
      option.repeat && !option.description.includes("several") ? "may be repeated" : "",
      option.env === undefined ? "" : `variable \`${option.env}\``,
    ].filter((text) => text !== "");
    return [`\`${option.flags}\``, [option.description, ...more].join("; ")];
  });
  return rows.length === 0 ? [] : [table(["flag", "meaning"], rows), ""];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

function below(parent: Command, name: string): Command {
  const found = parent.commands.find((command) => command.name() === name);
  if (!found) throw new Error(`commander has no '${name}'`);
  return found;
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.?!]$/.test(text) ? "" : "."}`;
}
