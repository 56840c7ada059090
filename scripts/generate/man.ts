/** docs/man: a manual page for the program and for each command, from the declarations that the program itself uses. */
import { allCommands } from "../../src/cli/declare/all.ts";
import { environmentVariables, exitCodes } from "../../src/cli/help-topics.ts";
import { globalOptions } from "../../src/cli/declare/common.ts";
import type { CommandSpec, OptionSpec } from "../../src/cli/spec.ts";
import { packageVersion } from "../../src/cli/version.ts";
import type { GeneratedFile } from "../lib/generated.ts";
import { bold, entry, heading, italic, literal, paragraph, roffProse, roffText, section } from "../lib/roff.ts";

const source = "src/cli/declare/";

export function files(): Promise<readonly GeneratedFile[]> {
  const shown = allCommands.filter((spec) => !spec.hidden);
  const pages = [file("siteagent", mainPage(shown)), ...shown.flatMap((spec) => commandPages(spec, ["siteagent"]))];
  return Promise.resolve(pages);
}

function file(name: string, lines: readonly string[]): GeneratedFile {
  return { path: `docs/man/${name}.1`, content: `${lines.join("\n")}\n` };
}

function mainPage(commands: readonly CommandSpec[]): readonly string[] {
  const groups = new Map<string, CommandSpec[]>();
  for (const spec of commands) groups.set(spec.group, [...(groups.get(spec.group) ?? []), spec]);
  const list = [...groups].flatMap(([group, specs]) => [
    `.SS ${roffText(group.replace(/:$/, ""))}`,
    ...specs.flatMap((spec) => entry(`${bold(`siteagent-${spec.name}`)}(1)`, roffProse(sentence(spec.summary)))),
  ]);
  return [
    ...heading("siteagent", source, packageVersion()),
    ...section("Name", [roffText("siteagent - run jobs of a central API where the compute is")]),
    ...section("Synopsis", [`${bold("siteagent")} ${italic("command")} [${italic("options")}]`]),
    ...section("Description", [
      roffProse(
        "Claims jobs from a central API, runs them where the compute is, and reports until all is done. Data goes to standard output, everything else to standard error. Job commands ask a hub, and with `--local` the agent on this machine.",
      ),
    ]),
    ...section("Commands", list),
    ...section("Options", globalOptions.flatMap(optionEntry)),
    ...section("Environment", Object.entries(environmentVariables).flatMap(termEntry)),
    ...section("Exit status", Object.entries(exitCodes).flatMap(termEntry)),
    ...section("See also", [seeAlso(commands.map((spec) => `siteagent-${spec.name}`))]),
  ];
}

function commandPages(spec: CommandSpec, path: readonly string[]): readonly GeneratedFile[] {
  const full = [...path, spec.name];
  const below = (spec.subcommands ?? []).filter((sub) => !sub.hidden);
  const pages = below.flatMap((sub) => commandPages(sub, full));
  return [file(full.join("-"), commandPage(spec, full, below)), ...pages];
}

function commandPage(spec: CommandSpec, path: readonly string[], below: readonly CommandSpec[]): readonly string[] {
  const name = path.join("-");
  const subNames = below.map((sub) => `${name}-${sub.name}`);
  const words = (spec.arguments ?? []).map((argument) => argumentWord(argument.name));
  const synopsis = [bold(path.join(" ")), ...(below.length > 0 ? [italic("command")] : []), ...words];
  const exits = Object.entries(spec.exits ?? {});
  return [
    ...heading(name, source, packageVersion()),
    ...section("Name", [roffText(`${name} - ${spec.summary}`)]),
    ...section("Synopsis", [`${synopsis.join(" ")} [${italic("options")}]`]),
    ...section("Description", [
      roffProse(sentence(spec.summary)),
      ...(spec.details === undefined ? [] : spec.details.split("\n\n").flatMap((text) => paragraph(roffProse(text)))),
    ]),
    ...section(
      "Commands",
      below.flatMap((sub) => entry(`${bold(`${name}-${sub.name}`)}(1)`, roffProse(sentence(sub.summary)))),
    ),
    ...section(
      "Arguments",
      (spec.arguments ?? []).flatMap((one) => entry(argumentWord(one.name), roffProse(sentence(one.description)))),
    ),
    ...section("Options", [...(spec.options ?? []), ...inherited(spec)].flatMap(optionEntry)),
    ...section("Exit status", exits.length === 0 ? [] : exits.flatMap(termEntry)),
    ...section(
      "Examples",
      spec.examples.flatMap((one) => [...paragraph(roffProse(sentence(one.what))), ...literal([one.command])]),
    ),
    ...section("See also", [seeAlso([path.slice(0, -1).join("-"), ...subNames])]),
  ];
}

/** Those of the program that the command does not declare itself. */
function inherited(spec: CommandSpec): readonly OptionSpec[] {
  const own = new Set((spec.options ?? []).map((option) => option.flags));
  return globalOptions.filter((option) => !own.has(option.flags) && !option.flags.includes("--version"));
}

/** `<id>` → id in italics; `[ids...]` keeps its brackets. */
function argumentWord(name: string): string {
  const inside = italic(name.slice(1, -1));
  return name.startsWith("[") ? `[${inside}]` : inside;
}

function optionEntry(option: OptionSpec): readonly string[] {
  const term = option.flags
    .split(/(, | )/)
    .map((word) => (word.startsWith("-") ? bold(word) : /^[<[]/.test(word) ? italic(word) : word))
    .join("");
  const more = [
    option.description,
    ...(option.choices ? [`one of ${option.choices.join(", ")}`] : []),
    ...(option.repeat ? ["may be repeated"] : []),
    ...(option.env === undefined ? [] : [`variable \`${option.env}\``]),
  ];
  return entry(term, roffProse(sentence(more.join("; "))));
}

function termEntry([term, meaning]: readonly [string, string]): readonly string[] {
  return entry(bold(term), roffProse(sentence(meaning)));
}

function seeAlso(names: readonly string[]): string {
  return names.map((name) => `${bold(name)}(1)`).join(", ");
}

function sentence(text: string): string {
  const first = text.charAt(0);
  // A first word in code keeps its spelling.
  const begin = /^[a-z]+(?:[ ,;.]|$)/.test(text) ? first.toUpperCase() : first;
  return `${begin}${text.slice(1)}${/[.?!]$/.test(text) ? "" : "."}`;
}
