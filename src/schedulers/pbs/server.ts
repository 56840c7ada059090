import type { RunResult } from "../../hosts/types.ts";
import { queryTimeoutMs, type SchedulerCommand, smallOutputBytes } from "../command.ts";
import { whyOf } from "../words.ts";
import type { Flavour } from "./version.ts";

export type ServerAnswer =
  | { readonly ok: true; readonly name: string; readonly history: boolean; readonly mostTasks: number }
  | { readonly ok: false; readonly why: string };

/** Of `max_array_size` where the server does not say it. */
const defaultMostTasks = 10_000;

/** What the server says of itself: whether it keeps ended jobs, how large an array may be. */
export function qstatServer(flavour: Flavour): SchedulerCommand<ServerAnswer> {
  return {
    argv: ["qstat", "-B", "-f"],
    timeoutMs: queryTimeoutMs,
    maxOutputBytes: smallOutputBytes,
    parse: (result) => parseServer(result, flavour),
  };
}

export function parseServer(result: RunResult, flavour: Flavour): ServerAnswer {
  const name = /^Server:?\s+(\S+)/m.exec(result.stdout)?.[1];
  if (name === undefined || result.exitCode !== 0) return { ok: false, why: whyOf("qstat -B", result) };
  const attribute = (wanted: string): string | undefined =>
    new RegExp(`^\\s+${wanted} = (.*)$`, "m").exec(result.stdout)?.[1]?.trim();
  const history =
    flavour === "torque" ? Number(attribute("keep_completed") ?? 0) > 0 : attribute("job_history_enable") === "True";
  const most = Number(attribute(flavour === "torque" ? "max_job_array_size" : "max_array_size") ?? defaultMostTasks);
  return { ok: true, name, history, mostTasks: most > 0 ? most : defaultMostTasks };
}
