import { describe, it } from "vitest";
import { type Misfits, app, expectMisfits, head } from "./files.ts";

const cases: readonly Misfits[] = [
  [
    "warnings that come too early, or to nobody",
    `${head}apps:\n  b: {workflow: w, command: [x], target: local, warning: {before: 1m}}\n  c: {workflow: v, command: [x], target: local, runtime: pty, resources: {walltime: 1m}, warning: {before: 60s, to: command, signal: SIGKILL}}\n  d: {workflow: u, command: [x], target: local, runtime: pty, resources: {walltime: 1m}, warning: {before: 60s, to: command}}\n  e: {workflow: t, command: [x], target: local, runtime: {podman: {image: "example.org/a@sha256:${"0".repeat(64)}"}}, resources: {walltime: 1h}, warning: {before: 60s}}\n`,
    [
      /^site\.yaml:4:\d+: apps\.b\.warning\.before: 1m before the time limit cannot be: there is no time limit; allowed: less than/,
      /apps\.c\.warning\.signal: .*SIGHUP.*SIGUSR2/,
      /apps\.d\.warning\.before: 1m before the time limit cannot be: the time limit is 1m/,
      /apps\.d\.warning\.to: the first process of an attempt with a terminal is the one that holds it; allowed: all/,
      /apps\.e\.warning: a warning does not reach a container of 'podman'; allowed: another runtime, or no warning/,
    ],
  ],
  [
    "a workflow that two apps serve",
    `${head}apps:\n  a: {workflow: w, command: [x], target: local}\n  b: {workflow: w, command: [x], target: local}\n`,
    ["site.yaml:5:17: apps.b.workflow: workflow 'w' is served by app 'a' already; allowed: one app for each workflow"],
  ],
  [
    "templates with unknown names",
    app(
      `command: [x, "{{thread}}", "{{config.x}}", "{{", "{{inputs.red}}"]\nparameters: {threads: {type: integer}}\ninputs: {reads: {from: "{{config.u}}", to: r}}`,
    ),
    [
      "site.yaml:7:18: apps.b.command[1]: '{{thread}}' at column 3 of '{{thread}}' is unknown; allowed: threads, inputs.reads, in, work, attempt, token; nearest: 'threads'",
      /^site\.yaml:7:32: apps\.b\.command\[2\]: .*commands take declared parameters only; allowed: a parameter with from: config\.x/,
      /^site\.yaml:7:48: apps\.b\.command\[3\]: '\{\{' at column 1 of '\{\{' has no '\}\}'/,
      /^site\.yaml:7:54: apps\.b\.command\[4\]: .* is unknown; .*nearest: 'inputs\.reads'/,
    ],
  ],
  [
    "parameters that contradict themselves",
    app(
      `command: [x]\nparameters: {p: {type: string, pattern: "(?=x)"}, t: {type: integer, default: 9, maximum: 8}, in: {type: boolean}}`,
    ),
    [
      /^site\.yaml:8:45: apps\.b\.parameters\.p\.pattern: '\(\?=x\)' is not a pattern/,
      "site.yaml:8:83: apps.b.parameters.t.default: '9' is out of range; allowed: a whole number from 0 to 8",
      /^site\.yaml:8:\d+: apps\.b\.parameters\.in: 'in' has a meaning of its own/,
    ],
  ],
  [
    "paths that leave their place, or meet",
    app(
      `command: [x]\ninputs: {a: {from: "{{config.u}}", to: ../x}, b: {from: "{{config.u}}", to: y}, c: {from: "{{config.u}}", to: y/}}\noutputs: {o: {from: "*.json"}, p: {from: /etc/passwd}, q: {from: "{{token}}"}}`,
    ),
    [
      /8:44: apps\.b\.inputs\.a\.to: '\.\.\/x' leaves its directory/,
      /inputs\.c\.to: 'y\/' is the place of input 'b'/,
      /outputs\.o\.from: '\*\.json' holds signs of a pattern; allowed: .*kind: glob/,
      /outputs\.p\.from: '\/etc\/passwd' is not a relative path/,
      /outputs\.q\.from: '\{\{token\}\}' is a template/,
    ],
  ],
  [
    "filters that are no expressions",
    app(`command: [x]\noutputs: {o: {from: ., kind: directory, include: ["*.a", "re:("], exclude: ["re:a.*"]}}`),
    [/^site\.yaml:8:\d+: apps\.b\.outputs\.o\.include\[1\]: .*it is no RE2 expression: /],
  ],
  [
    "variables that nobody may hand on or set",
    `${head}agent: {environment: [NODE_OPTIONS, HOME]}\napps: {b: {workflow: w, command: [x], target: local, environment: {SITEAGENT_X: y}}}\n`,
    [
      /3:23: agent\.environment\[0\]: 'NODE_OPTIONS' is never handed on/,
      /4:68: apps\.b\.environment\.SITEAGENT_X: 'SITEAGENT_X' is set by siteagent/,
    ],
  ],
  [
    "commands that jobs could rewrite",
    app(
      `command: ["{{tool}}", x]\nparameters: {tool: {type: string}}\nhooks: {preprocess: {command: [sh, -c, "echo {{tool}}"]}}`,
    ),
    [
      /7:15: apps\.b\.command\[0\]: the program .* would be chosen by the job/,
      /hooks\.preprocess\.command\[2\]: .* into the text of 'sh', where they are code/,
    ],
  ],
];

describe("things that do not fit each other: what apps say", () => {
  it.each(cases)("names %s", (_what, text, expected) => expectMisfits(text, expected));
});
