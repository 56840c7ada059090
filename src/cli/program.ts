import { Command, Option } from "commander";
import { allCommands } from "./declare/all.ts";
import { globalOptions } from "./declare/common.ts";
import type { GlobalOptions } from "./main.ts";
import { Options } from "./options.ts";
import type { CommandCall, CommandSpec, OptionSpec } from "./spec.ts";
import { terminalOf } from "./terminal.ts";
import { packageVersion } from "./version.ts";

export type Runner = (spec: CommandSpec, call: CommandCall, global: GlobalOptions) => Promise<void>;

/** The streams and settings that help needs. */
export type HelpHost = Pick<NodeJS.Process, "stdout" | "stderr" | "env">;

/** The whole command line as commander knows it. Loads no command's code. */
export function buildProgram(host: HelpHost, run: Runner, commands: readonly CommandSpec[] = allCommands): Command {
  const out = terminalOf(host.stdout, host.env, "auto");
  const program = new Command("siteagent")
    .description("Claims jobs from a central API, runs them where the compute is, and reports until all is done.")
    .exitOverride()
    .helpCommand(false)
    .showSuggestionAfterError(true)
    .configureOutput({
      writeOut: (text) => void host.stdout.write(text),
      writeErr: () => {}, // main.ts tells errors
      getOutHelpWidth: () => Math.min(out.columns, 120),
      getOutHasColors: () => out.color,
    })
    .configureHelp({
      showGlobalOptions: true,
      styleTitle: (title) => out.style("bold", title),
      styleCommandText: (text) => out.style("cyan", text),
      styleSubcommandTerm: (text) => out.style("cyan", text),
      styleOptionTerm: (text) => out.style("cyan", text),
      subcommandTerm: (command) => {
        const names = command.registeredArguments.map((argument) =>
          argument.required ? `<${argument.name()}>` : `[${argument.name()}]`,
        );
        return [command.name(), ...(command.commands.length > 0 ? ["…"] : names)]
          .join(" ")
          .replace("…", out.unicode ? "…" : "...");
      },
    })
    .helpOption("-h, --help", "this help")
    .version(packageVersion(), "-V, --version", "the version");
  for (const option of globalOptions.filter((one) => !/--(?:help|version)/.test(one.flags))) {
    program.addOption(optionOf(option));
  }
  program.addHelpText("after", () => `\n${rootHelp.join("\n")}\n`);
  for (const spec of commands) declare(program, spec, run, "siteagent");
  return program;
}

const rootHelp: readonly string[] = [
  "siteagent help <command>     examples and every flag of a command",
  "siteagent help environment   variables and places",
  "siteagent help exit-codes    what exit codes mean",
  "siteagent help formats       json, yaml, tables, columns",
];

function declare(parent: Command, spec: CommandSpec, run: Runner, path: string): void {
  const command = parent
    .command(spec.name, spec.hidden ? { hidden: true } : {})
    .summary(spec.summary)
    .description(spec.details === undefined ? sentence(spec.summary) : `${sentence(spec.summary)}\n\n${spec.details}`)
    .helpGroup(spec.group)
    .allowExcessArguments(false);
  if (spec.ownHelp) command.helpOption(false);
  const full = `${path} ${spec.name}`;
  for (const argument of spec.arguments ?? []) command.argument(argument.name, argument.description);
  for (const option of spec.options ?? []) command.addOption(optionOf(option));
  command.addHelpText("after", () => `\n${afterHelp(spec)}`);
  for (const sub of spec.subcommands ?? []) declare(command, sub, run, full);
  if (spec.subcommands && !spec.load) {
    command.action(() => command.error(`error: '${full}' needs one of ${names(spec.subcommands ?? [])}`));
    return;
  }
  command.action(async () => {
    const call = { args: command.args, options: new Options(command.opts()), command: full };
    await run(spec, call, command.optsWithGlobals<GlobalOptions>());
  });
}

function optionOf(spec: OptionSpec): Option {
  const option = new Option(spec.flags, spec.description);
  if (spec.choices) option.choices([...spec.choices]);
  if (spec.env !== undefined) option.env(spec.env);
  if (spec.repeat) option.argParser((value: string, before: string[] | undefined) => [...(before ?? []), value]);
  return option;
}

function names(specs: readonly CommandSpec[]): string {
  return specs.map((spec) => spec.name).join(", ");
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.?!]$/.test(text) ? "" : "."}`;
}

/** Examples and exit codes below the flags. */
function afterHelp(spec: CommandSpec): string {
  const lines = ["Examples:"];
  for (const { command, what } of spec.examples) lines.push(`  # ${what}`, `  ${command}`);
  const exits = Object.entries(spec.exits ?? {});
  if (exits.length > 0) lines.push("", "Exit codes (see also: siteagent help exit-codes):");
  for (const [code, meaning] of exits) lines.push(`  ${code.padStart(3)}  ${meaning}`);
  return `${lines.join("\n")}\n`;
}
