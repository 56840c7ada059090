import type { CommandSpec } from "../spec.ts";
import { agentOptions, siteFileOption } from "./common.ts";

const group = "Agent on this machine:";
const reason = { flags: "--reason <text>", description: "why; stored and shown" } as const;

export const agentCommands: readonly CommandSpec[] = [
  {
    name: "status",
    group,
    summary: "is all well?",
    details:
      "State, since when, server, jobs, what it does next, the last log lines. Works when the central API is down.",
    options: [{ flags: "--watch", description: "stay and refresh every two seconds" }, ...agentOptions],
    examples: [
      { command: "siteagent status", what: "one look" },
      { command: "siteagent status -o json | jq .mode", what: "for programs" },
    ],
    exits: { 0: "well", 1: "degraded", 2: "down" },
    load: () => import("../commands/status.ts"),
  },
  {
    name: "doctor",
    group,
    summary: "check this machine and its site file, with the repair for each finding",
    options: [siteFileOption],
    examples: [
      { command: "siteagent doctor", what: "before the first start, and when something is odd" },
      { command: "siteagent doctor -o json", what: "for programs" },
    ],
    exits: { 0: "well", 1: "there are warnings", 2: "the agent cannot work" },
    load: () => import("../commands/doctor.ts"),
  },
  {
    name: "pause",
    group,
    summary: "take nothing new; what is held goes on",
    options: [reason, { flags: "--until <when>", description: "resume by itself: 2h, or a time" }, ...agentOptions],
    examples: [{ command: "siteagent pause --reason maintenance --until 2h", what: "for two hours" }],
    load: () => import("../commands/pause.ts"),
  },
  {
    name: "resume",
    group,
    summary: "take jobs again",
    arguments: [
      { name: "[id]", description: "only this job of the agent: one that is paused or quarantined", complete: "job" },
    ],
    options: [...agentOptions],
    examples: [
      { command: "siteagent resume", what: "after a pause or a drain" },
      {
        command: "siteagent resume nmdc:sys0abc12",
        what: "one job that was quarantined, once its log has been looked at",
      },
    ],
    load: () => import("../commands/resume.ts"),
  },
  {
    name: "drain",
    group,
    summary: "take nothing new and finish what is held",
    options: [
      reason,
      { flags: "--exit", description: "end the agent when nothing is held" },
      { flags: "--wait", description: "come back when it is drained" },
      ...agentOptions,
    ],
    examples: [{ command: "siteagent drain --reason upgrade --wait", what: "before an upgrade of the machine" }],
    load: () => import("../commands/drain.ts"),
  },
  {
    name: "reload",
    group,
    summary: "read the site file again",
    details: "A file with problems changes nothing. Running jobs keep the settings they started with.",
    options: [...agentOptions],
    examples: [{ command: "siteagent validate && siteagent reload", what: "after an edit" }],
    exits: { 78: "the file cannot be used; the old settings stay" },
    load: () => import("../commands/reload.ts"),
  },
  {
    name: "plan",
    group,
    summary: "show what this site would do with a job, without doing it",
    details: "Command line, names of the environment, paths, and the policy's verdict on every URL.",
    arguments: [{ name: "<job.json>", description: "a job request; `-` reads standard input", complete: "file" }],
    options: [siteFileOption],
    examples: [{ command: "siteagent plan job.json", what: "before the first real job of an app" }],
    exits: { 1: "the site would refuse the job" },
    load: () => import("../commands/plan.ts"),
  },
];
