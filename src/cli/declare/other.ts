import type { CommandSpec } from "../spec.ts";
import { siteFileOption } from "./common.ts";

const configuration = "Configuration:";
const more = "More:";

export const otherCommands: readonly CommandSpec[] = [
  {
    name: "validate",
    group: configuration,
    summary: "check a site file or a hub file; all problems at once",
    arguments: [{ name: "[file]", description: "default: site.yaml in the configuration directory", complete: "file" }],
    examples: [
      { command: "siteagent validate site.yaml", what: "file, line, column and the nearest valid word" },
      { command: "siteagent validate /etc/siteagent/hub.yaml", what: "the settings of a hub, presets and secrets too" },
    ],
    exits: { 78: "the file cannot be used" },
    load: () => import("../commands/validate.ts"),
  },
  {
    name: "config",
    group: configuration,
    summary: "effective settings and their schema",
    examples: [{ command: "siteagent config show", what: "every value and where it comes from" }],
    subcommands: [
      {
        name: "show",
        group: configuration,
        summary: "effective settings with their origin, secrets masked",
        arguments: [
          { name: "[file]", description: "default: site.yaml in the configuration directory", complete: "file" },
        ],
        options: [siteFileOption],
        examples: [
          { command: "siteagent config show", what: "every value and where it comes from" },
          { command: "siteagent config show -o json", what: "for programs" },
        ],
        exits: { 78: "the file cannot be used" },
        load: () => import("../commands/config-show.ts"),
      },
      {
        name: "schema",
        group: configuration,
        summary: "print a JSON Schema",
        arguments: [{ name: "[which]", description: "site (default) or hub" }],
        examples: [{ command: "siteagent config schema > site.schema.json", what: "for an editor" }],
        load: () => import("../commands/config-schema.ts"),
      },
    ],
  },
  {
    name: "conformance",
    group: configuration,
    summary: "try an adapter of a site's own: does it keep the promises of its contract?",
    details:
      "Runs the suite that all adapters of its type have in common, on what the module's `rehearse` sets up. The guide: docs/adding-an-adapter.md.",
    arguments: [{ name: "<module>", description: "ES module that exports siteagentAdapter", complete: "file" }],
    options: [
      {
        flags: "--case <text>",
        description: "only cases with this text in their title; may be repeated",
        repeat: true,
      },
    ],
    examples: [
      { command: "siteagent conformance ./my-adapter.ts", what: "each case, and why it failed" },
      { command: "siteagent conformance ./my-adapter.ts --case E4 -o json", what: "for programs" },
    ],
    exits: { 1: "a case failed", 78: "the module cannot be tried" },
    load: () => import("../commands/conformance.ts"),
  },
  {
    name: "completion",
    group: more,
    summary: "print a completion script for a shell",
    details:
      "bash: add `source <(siteagent completion bash)` to ~/.bashrc; the bash-completion package is not needed. zsh: add `source <(siteagent completion zsh)` to ~/.zshrc after compinit. fish: `siteagent completion fish > ~/.config/fish/completions/siteagent.fish`.",
    arguments: [{ name: "<shell>", description: "bash, zsh or fish" }],
    examples: [{ command: "source <(siteagent completion bash)", what: "in this shell, now" }],
    load: () => import("../commands/completion.ts"),
  },
  {
    name: "version",
    group: more,
    summary: "print the version",
    examples: [{ command: "siteagent version -o json", what: "with Node and build" }],
    load: () => import("../commands/version.ts"),
  },
  {
    name: "help",
    group: more,
    summary: "help on a command or on environment, exit-codes, formats",
    arguments: [
      { name: "[topic...]", description: "a command, or environment, exit-codes, formats", complete: "topic" },
    ],
    examples: [
      { command: "siteagent help submit", what: "a command" },
      { command: "siteagent help exit-codes", what: "what exit codes mean" },
    ],
    load: () => import("../commands/help.ts"),
  },
];
