/** Which scenario passes which failpoint, in which dialect: complete, or it does not compile. */
import {
  type AgentFailpoint,
  agentFailpoints,
  type FailpointName,
  type HubFailpoint,
  hubFailpoints,
  type RunnerFailpoint,
  runnerFailpoints,
} from "../../src/common/failpoints.ts";
import type { Dialect, ScenarioName } from "./kill-scenarios.ts";

export type Victim = "agent" | "runner" | "hub" | "all";

export interface KillCase {
  /** Who is killed while the point's process is there; `all` = agent, runner and hub at once. */
  readonly victim: Victim;
  readonly point: FailpointName;
  readonly dialect: Dialect;
  readonly scenario: ScenarioName;
  /** Takes minutes: not in `npm test`. */
  readonly slow?: boolean;
}

interface Way {
  readonly scenario: ScenarioName;
  /** Default: both. */
  readonly only?: Dialect;
  readonly slow?: boolean;
}

/** Points that any job with inputs, hooks and outputs passes. */
const work: Way = { scenario: "work" };
const order: Way = { scenario: "cancelled", only: "hub" };
const cancel: Way = { scenario: "cancelled" };
const drain: Way = { scenario: "drained" };
const start: Way = { scenario: "started" };
const damaged: Way = { scenario: "damaged" };

const agentWays: Record<AgentFailpoint, Way> = {
  "claim.before-sync": work,
  "claim.after-sync": work,
  "claim.before-intent": { ...work, only: "nmdc" },
  "claim.after-intent": { ...work, only: "nmdc" },
  "claim.before-send": { ...work, only: "nmdc" },
  "claim.after-send": { ...work, only: "nmdc" },
  "claim.before-void": { scenario: "lost", only: "nmdc" },
  "claim.after-void": { scenario: "lost", only: "nmdc" },
  "claim.before-record": work,
  "claim.after-record": work,
  "stage.before-directories": work,
  "stage.after-directories": work,
  "stage.before-phase": work,
  "stage.after-phase": work,
  "stage.before-record": work,
  "stage.after-record": work,
  "hook.before-preprocess": work,
  "hook.before-postprocess": work,
  "hook.before-handle_error": { scenario: "flaky" },
  "hook.before-handle_timeout": { scenario: "timed" },
  "hook.after-preprocess": work,
  "hook.after-postprocess": work,
  "hook.after-handle_error": { scenario: "flaky" },
  "hook.after-handle_timeout": { scenario: "timed" },
  "hook.before-record": work,
  "hook.after-record": work,
  "start.before-directories": work,
  "start.after-directories": work,
  "start.before-intent": work,
  "start.after-intent": work,
  "start.before-launch": work,
  "start.after-launch": work,
  "start.before-running": { scenario: "held" },
  "start.after-running": { scenario: "held" },
  "end.before-record": work,
  "end.after-record": work,
  "retry.before-record": { scenario: "flaky" },
  "retry.after-record": { scenario: "flaky" },
  "archive.before-record": work,
  "archive.after-record": work,
  "archive.before-phase": work,
  "archive.after-phase": work,
  "report.before-send": work,
  "report.after-send": work,
  "report.before-ack": work,
  "report.after-ack": work,
  "log.before-send": { ...work, only: "hub" },
  "log.after-send": { ...work, only: "hub" },
  "order.before-close": order,
  "order.after-close": order,
  "order.before-receive": order,
  "order.after-receive": order,
  "order.before-answer": order,
  "order.after-answer": order,
  "cancel.before-intent": cancel,
  "cancel.after-intent": cancel,
  "cancel.before-record": cancel,
  "cancel.after-record": cancel,
  "cancel.before-stop": cancel,
  "cancel.after-stop": cancel,
  "release.before-intent": drain,
  "release.after-intent": drain,
  "release.before-send": drain,
  "release.after-send": drain,
  "release.after-remove": drain,
  "release.after-forget": drain,
  "clean.before-intent": { scenario: "cleaned" },
  "clean.before-remove": { scenario: "cleaned" },
  "clean.after-remove": { scenario: "cleaned" },
  "clean.after-forget": { scenario: "cleaned" },
  "mode.before-record": drain,
  "mode.after-record": drain,
  "loop.before-run": start,
  "agent.before-journal": start,
  "agent.before-start": start,
  "agent.after-start": start,
  "instance-lock.before-owner": start,
  "instance-lock.after-owner": start,
  "instance-lock.before-link": start,
  "instance-lock.after-link": start,
  "journal.before-cut": { scenario: "torn" },
  "journal.after-cut": { scenario: "torn" },
  "journal.before-move-aside": damaged,
  "journal.after-move-aside": damaged,
  "journal.before-snapshot-write": damaged,
  "journal.before-rename": damaged,
  "journal.after-rename": damaged,
  "journal.before-write": work,
  "journal.after-write": work,
  "journal.before-sync": work,
  "journal.after-sync": work,
  "journal.before-remove": damaged,
  "journal.after-remove": damaged,
  "host.before-run": work,
  "host.after-run": work,
  "launcher.before-launch": work,
  "launcher.after-launch": work,
  "launcher.before-stop": cancel,
  "launcher.after-stop": cancel,
  "transfer.before-part": work,
  "transfer.after-part": work,
  "transfer.after-append": work,
  "transfer.before-rename": work,
  "transfer.after-rename": work,
  "transfer.after-directory-sync": work,
  "transfer.before-link": work,
  "transfer.after-link": work,
  "transfer.before-put": work,
  "transfer.after-put": work,
  "transfer.after-verify": work,
  "transfer.before-clean": work,
  "transfer.after-clean": work,
  "transfer.before-record": work,
  "transfer.after-record": work,
  "transfer.before-write": work,
  "transfer.after-write": work,
};

const runnerWays: Record<RunnerFailpoint, Way> = {
  "runner.before-stop": cancel,
  "runner.after-mark": cancel,
  "runner.before-kill": cancel,
  "runner.after-kill": cancel,
  "runner.before-guard": { scenario: "neverStarted" },
  "runner.after-guard": { scenario: "neverStarted" },
  "runner.before-answer": work,
  "runner.after-answer": work,
  "runner.before-launch": work,
  "runner.before-order": cancel,
  "runner.before-plan": work,
  "runner.after-directory": work,
  "runner.before-spawn": work,
  "runner.after-spawn": work,
  "runner.before-listen": { scenario: "freshRunner" },
  "runner.after-listen": { scenario: "freshRunner" },
};

const hubWays: Record<HubFailpoint, Way> = {
  "hub.before-expire": { scenario: "unconfirmed", only: "hub", slow: true },
  "hub.after-expire": { scenario: "unconfirmed", only: "hub", slow: true },
  "hub.before-action": order,
  "hub.after-action": order,
  "hub.before-release": { ...drain, only: "hub" },
  "hub.after-release": { ...drain, only: "hub" },
  "hub.before-output": { ...work, only: "hub" },
  "hub.after-output": { ...work, only: "hub" },
  "hub.before-log": { ...work, only: "hub" },
  "hub.after-log": { ...work, only: "hub" },
  "hub.before-create": { ...work, only: "hub" },
  "hub.after-create": { ...work, only: "hub" },
  "hub.before-acknowledge": order,
  "hub.before-assign": { ...work, only: "hub" },
  "hub.after-assign": { ...work, only: "hub" },
  "hub.after-acknowledge": order,
  "hub.after-reports": { ...work, only: "hub" },
  "hub.before-reports": { ...work, only: "hub" },
  "hub.before-claim": { ...work, only: "nmdc" },
  "hub.after-claim": { ...work, only: "nmdc" },
  "hub.before-unclaim": { ...drain, only: "nmdc" },
  "hub.after-unclaim": { ...drain, only: "nmdc" },
  "hub.before-patch": { ...work, only: "nmdc" },
  "hub.after-patch": { ...work, only: "nmdc" },
  "hub.before-trigger": { scenario: "triggered", only: "hub" },
  "hub.after-trigger": { scenario: "triggered", only: "hub" },
};

function casesOf(victim: Victim, ways: Readonly<Record<string, Way>>, points: readonly FailpointName[]): KillCase[] {
  return points.flatMap((point) => {
    const { only, ...way } = ways[point] ?? { scenario: "work" };
    const dialects: readonly Dialect[] = only === undefined ? ["hub", "nmdc"] : [only];
    return dialects.map((dialect): KillCase => ({ victim, point, dialect, ...way }));
  });
}

const namesOf = <Name extends string>(table: Readonly<Record<Name, unknown>>): Name[] => Object.keys(table) as Name[];

/** All cases, in the order of their tables. */
export const killCases: readonly KillCase[] = [
  ...casesOf("agent", agentWays, namesOf(agentFailpoints)),
  ...casesOf("runner", runnerWays, namesOf(runnerFailpoints)),
  ...casesOf("hub", hubWays, namesOf(hubFailpoints)),
  ...casesOf("all", agentWays, namesOf(agentFailpoints)),
];
