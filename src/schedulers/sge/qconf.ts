import type { RunResult } from "../../hosts/types.ts";
import { queryTimeoutMs, type SchedulerCommand, smallOutputBytes } from "../command.ts";
import { whyOf } from "../words.ts";
import { isTrouble } from "./trouble.ts";

export type ConfigurationAnswer =
  | { readonly ok: true; readonly mostTasks: number }
  | { readonly ok: false; readonly why: string };

/** The cluster's configuration: the master answers, and how large an array may be (0: without limit). */
export function qconfConfiguration(): SchedulerCommand<ConfigurationAnswer> {
  return { argv: ["qconf", "-sconf"], timeoutMs: queryTimeoutMs, maxOutputBytes: smallOutputBytes, parse };
}

/** Of `max_aj_tasks` where nothing is said. */
export const defaultMostTasks = 75_000;

function parse(result: RunResult): ConfigurationAnswer {
  const most = /^max_aj_tasks\s+(\d+)\s*$/m.exec(result.stdout)?.[1];
  if (isTrouble(result) || result.exitCode !== 0 || most === undefined)
    return { ok: false, why: whyOf("qconf", result) };
  return { ok: true, mostTasks: Number(most) || defaultMostTasks };
}

export type VersionAnswer =
  | { readonly ok: true; readonly version: string }
  | { readonly ok: false; readonly why: string };

/** Asks no master; the first line is `SGE 8.1.9`, `OGS/GE 2011.11p1`, `UGE 8.6`. */
export function qstatHelp(): SchedulerCommand<VersionAnswer> {
  return {
    argv: ["qstat", "-help"],
    timeoutMs: queryTimeoutMs,
    maxOutputBytes: smallOutputBytes,
    parse: (result) => {
      const first = result.stdout.split("\n")[0]?.trim() ?? "";
      return /GE.*\d/.test(first) ? { ok: true, version: first } : { ok: false, why: whyOf("qstat -help", result) };
    },
  };
}
