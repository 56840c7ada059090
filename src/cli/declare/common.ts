import { outputFormats } from "../context.ts";
import type { OptionSpec } from "../spec.ts";
import { colorModes } from "../terminal.ts";

/** Flags of every command. */
export const globalOptions: readonly OptionSpec[] = [
  {
    flags: "-o, --output <format>",
    description: "how data is printed",
    choices: outputFormats,
    env: "SITEAGENT_OUTPUT",
  },
  { flags: "--color <when>", description: "colours", choices: colorModes },
  { flags: "--utc", description: "show times in UTC instead of local time" },
  { flags: "-h, --help", description: "this help" },
  { flags: "-V, --version", description: "the version" },
];

/** Which hub, or the agent here instead. */
export const whereOptions: readonly OptionSpec[] = [
  {
    flags: "--hub <url>",
    description: "the hub to ask; default: the profile of `siteagent login`",
    env: "SITEAGENT_HUB",
  },
  { flags: "--local", description: "ask the agent on this machine instead of a hub" },
  { flags: "--socket <path>", description: "control socket of the agent, with --local", env: "SITEAGENT_SOCKET" },
];

/** Only a hub can answer. */
export const hubOnlyOptions: readonly OptionSpec[] = whereOptions.slice(0, 1);

/** Which agent. */
export const agentOptions: readonly OptionSpec[] = [
  { flags: "--socket <path>", description: "control socket of the agent", env: "SITEAGENT_SOCKET" },
  { flags: "--config <file>", description: "site file that names the runtime directory", complete: "file" },
];

/** The site file of this machine. */
export const siteFileOption: OptionSpec = {
  flags: "--config <file>",
  description: "site file; default: site.yaml in the configuration directory",
  env: "SITEAGENT_CONFIG",
  complete: "file",
};

/** Which jobs. */
export const filterOptions: readonly OptionSpec[] = [
  { flags: "--status <status>", description: "only with this status, as RUNNING; several: any of them", repeat: true },
  { flags: "--workflow <id>", description: "only of this workflow", complete: "workflow" },
  { flags: "--site <id>", description: "only at this site", complete: "site" },
  {
    flags: "--tag <key[=value]>",
    description: "only with this tag; several: all of them",
    repeat: true,
    complete: "tag",
  },
  { flags: "--since <when>", description: "only made since: 6h, 2d, a date or a time" },
  { flags: "--before <when>", description: "only made before" },
  { flags: "--search <words>", description: "only with these words in id, name, workflow, tags or failure" },
  { flags: "--owner <name>", description: "only of this person" },
  { flags: "--mine", description: "only my own" },
  { flags: "--everyone", description: "of everybody" },
];

export const selectionOptions: readonly OptionSpec[] = [
  { flags: "--all-matching", description: "all jobs that the filters select, instead of ids" },
  { flags: "--yes", description: "do not ask" },
  ...filterOptions,
];

/** How a job id may be written; used in the help of every command that takes one. */
export const idWords = "id, a unique beginning of one, or `last` (my newest)";
