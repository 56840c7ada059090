import type { CommandSpec } from "../spec.ts";
import { siteFileOption } from "./common.ts";

const group = "Start:";

export const startCommands: readonly CommandSpec[] = [
  {
    name: "init",
    group,
    summary: "write a site file for this machine",
    details:
      "Asks at most seven questions on a terminal; every question is also a flag. Without a terminal nothing is asked: missing flags are named and the exit code is 64. Writes a commented file with mode 0600 and ends with `doctor`.",
    options: [
      { flags: "--site <id>", description: "who we are: the site id that central knows" },
      { flags: "--api <url>", description: "address of the central API" },
      { flags: "--client-id <id>", description: "id of the site's client, as central gave it" },
      {
        flags: "--secret-file <file>",
        description: "file with the client secret (mode 0600); `-` reads it from standard input",
        complete: "file",
      },
      {
        flags: "--workdir <directory>",
        description: "where jobs run; default: work in the state directory",
        complete: "file",
      },
      { flags: "--slots <n>", description: "jobs at the same time; default: the number of processors" },
      { flags: "--source <url>", description: "inputs may come from here; several allowed", repeat: true },
      { flags: "--destination <url>", description: "outputs may go here; several allowed", repeat: true },
      { flags: "--example-app", description: "include the app `hello` (workflow hello-1.0.0) to try" },
      { flags: "--allow-http", description: "allow a central API without TLS on another machine" },
      {
        flags: "--out <file>",
        description: "where to write; default: site.yaml in the configuration directory",
        complete: "file",
      },
      { flags: "--force", description: "replace a file that is there" },
      { flags: "--no-doctor", description: "do not check the machine afterwards" },
    ],
    examples: [
      { command: "siteagent init", what: "ask, then write the site file" },
      {
        command:
          "siteagent init --site lab-a --api https://api.example.org --client-id sys0a41r6w75 --secret-file ./secret",
        what: "the same without questions",
      },
    ],
    exits: { 64: "no terminal, and flags are missing", 73: "the file is there already" },
    load: () => import("../commands/init.ts"),
  },
  {
    name: "demo",
    group,
    summary: "hub, agent and real jobs on this machine, in one go",
    options: [
      { flags: "--keep", description: "leave hub and agent running to play with" },
      {
        flags: "--directory <directory>",
        description: "where everything of the demo goes; emptied first",
        complete: "file",
      },
    ],
    examples: [
      { command: "siteagent demo", what: "watch jobs go from trigger to verified outputs" },
      { command: "siteagent demo --keep", what: "and leave everything running" },
    ],
    endsByInterrupt: true,
    load: () => import("../commands/demo.ts"),
  },
  {
    name: "hub",
    group,
    summary: "run a hub: the central API for one machine or many sites",
    details:
      "`--dev` needs no settings: SQLite in the data directory, the NMDC preset, no rate limit. It prints address, password and site credentials once it listens.",
    options: [
      { flags: "--dev", description: "for development and trial: no settings needed" },
      { flags: "--config <file>", description: "settings of a hub in earnest (hub.yaml)", complete: "file" },
      { flags: "--data <directory>", description: "where a --dev hub keeps its data", complete: "file" },
      { flags: "--plain", description: "speak the NMDC Runtime's contract alone, without /siteagent/v1/" },
      { flags: "--host <address>", description: "address to listen at; default 127.0.0.1" },
      { flags: "--port <n>", description: "port to listen at; 0 = any free one; default 8900" },
    ],
    examples: [
      { command: "siteagent hub --dev", what: "a hub to try, in the current state directory" },
      { command: "siteagent hub --dev --port 0 -o json", what: "for scripts: one JSON line with url, admin and site" },
      { command: "siteagent hub --config /etc/siteagent/hub.yaml", what: "a hub in earnest" },
    ],
    ownSignals: true,
    load: () => import("../commands/hub.ts"),
  },
  {
    name: "run",
    group,
    summary: "run the agent",
    details:
      "Claims jobs, runs them and reports until it is told to stop. INT and TERM stop it at once and leave running jobs alone: the next start adopts them; a second one, more than a second later, does not wait for what hangs. HUP reloads the site file, QUIT drains.",
    options: [
      siteFileOption,
      { flags: "--dry-run", description: "check the site file and the machine, claim nothing, end" },
      { flags: "--no-claim", description: "follow what is held, claim nothing new" },
    ],
    examples: [
      { command: "siteagent run", what: "with the site file of the configuration directory" },
      { command: "siteagent run --config ./site.yaml --no-claim", what: "finish what is held" },
    ],
    exits: { 75: "another agent holds the state directory", 76: "drained", 78: "the site file cannot be used" },
    ownSignals: true,
    load: () => import("../commands/run.ts"),
  },
];
