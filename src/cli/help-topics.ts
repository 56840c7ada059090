import { faults } from "../common/faults.ts";
import { wrap } from "./format/text.ts";

/** Exit codes with what they mean to everybody; those of single commands stand in their own help. */
export const exitCodes: Readonly<Record<number, string>> = {
  0: "yes, or done",
  1: "no: a job failed or was cancelled, the agent is degraded, the doctor has warnings",
  2: "down: no agent answers (`status`), or it cannot work (`doctor`)",
  64: "the command line cannot be understood",
  65: "data that cannot be used: a job file, a conflict with what is there",
  66: "no such job, output or file",
  69: "the hub or the agent cannot be reached",
  70: "a fault of siteagent itself",
  73: "a file cannot be made, or is there already",
  74: "reading or writing failed",
  75: "not now; try again later",
  76: "the agent has drained (`run`)",
  77: "not allowed: not logged in, wrong role, refused by policy",
  78: "the configuration cannot be used",
  124: "the time of `wait` or `watch` is over",
  130: "interrupted by Ctrl-C, or answered with no",
  143: "ended by SIGTERM",
};

/** Variables that are read, in the order of the help. */
export const environmentVariables: Readonly<Record<string, string>> = {
  SITEAGENT_HUB: "address of the hub, instead of the profile of `siteagent login`",
  SITEAGENT_TOKEN: "token for that hub",
  SITEAGENT_CONFIG: "site file, instead of site.yaml in the configuration directory",
  SITEAGENT_SOCKET: "control socket of the agent",
  SITEAGENT_OUTPUT: "default of -o",
  SITEAGENT_CONFIG_DIR: "configuration directory: site.yaml, profile.json",
  SITEAGENT_STATE_DIR: "state directory: journal, work, data of a --dev hub",
  SITEAGENT_RUNTIME_DIR: "runtime directory: control socket",
  SITEAGENT_RUNNER_SOCKET: "socket of a runner that a systemd unit starts; the agent then starts none",
  SITEAGENT_DEBUG: "1 = errors with their stack",
  NO_COLOR: "any value: no colours",
  FORCE_COLOR: "1 = colours also in a pipe",
  LC_ALL: "(also LC_CTYPE, LANG) ASCII symbols unless it names UTF-8",
};

const places = `Directories are taken from the first of: SITEAGENT_<NAME>_DIR, systemd's CONFIGURATION_DIRECTORY, STATE_DIRECTORY,
RUNTIME_DIRECTORY, then XDG_CONFIG_HOME, XDG_STATE_HOME, XDG_RUNTIME_DIR (each with /siteagent). Without them:

              account root            other accounts
  config      /etc/siteagent          ~/.config/siteagent
  state       /var/lib/siteagent      ~/.local/state/siteagent
  runtime     /run/siteagent          ~/.local/state/siteagent/run`;

const formats = `-o, or SITEAGENT_OUTPUT:

  table   for people (default); cut to the width of a terminal, never in a pipe
  wide    a table with every column
  name    ids (or paths) only, one per line, for xargs
  json    one document
  jsonl   one object per line; \`watch\` prints one per event
  yaml    one document

Field names of json, jsonl and yaml are stable; new ones may come. Times are ISO 8601 in UTC there, and local time with
the zone and the age in tables (--utc: UTC). Data goes to standard output, everything else to standard error; in the
machine formats an error is one JSON object there: {"error": {"code", "message", "hint", "retry", "exit_code", "details"}}.

Columns of \`jobs\` (--columns): id, status, state, phase, name, workflow, site, owner, tags, attempt, created, updated, ended,
age, time, info.`;

/** Texts of `siteagent help TOPIC`, their lines at most `columns` long where words allow. */
export const helpTopics: Readonly<Record<string, (columns: number) => string>> = {
  environment: (columns) =>
    `${rows(Object.entries(environmentVariables), 23, columns)}\n\n${paragraphs(places, columns)}\n`,
  "exit-codes": (columns) =>
    `${rows(Object.entries(exitCodes), 4, columns)}\n\nFaults and their exit codes:\n\n${faultRows(columns)}\n`,
  formats: (columns) => `${paragraphs(formats, columns)}\n`,
};

function rows(table: readonly (readonly [string, string])[], width: number, columns: number): string {
  const indent = width + 4;
  return table
    .map(([name, text]) => {
      const lines = wrap(text, columns - indent);
      return `  ${name.padEnd(width)}  ${lines.join(`\n${" ".repeat(indent)}`)}`;
    })
    .join("\n");
}

function faultRows(columns: number): string {
  const table = Object.entries(faults).map(
    ([code, row]) => [`${String(row.exit).padStart(3)}  ${code}`, row.meaning] as const,
  );
  return rows(table, 25, columns);
}

/** Prose is wrapped anew; indented tables stay as they are. */
function paragraphs(text: string, columns: number): string {
  return text
    .split("\n\n")
    .map((block) => (/^ {2}/m.test(block) ? block : wrap(block.replaceAll("\n", " "), columns).join("\n")))
    .join("\n\n");
}
