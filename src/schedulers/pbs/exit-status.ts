import { constants } from "node:os";
import type { Verdict } from "../types.ts";
import type { Flavour } from "./version.ts";

type Kind = Verdict["kind"];

/** Reasons of the batch system itself, `JOB_EXEC_*` in `job.h` of OpenPBS. */
const openpbs: Readonly<Record<number, Kind>> = {
  [-1]: "launch",
  [-2]: "launch",
  [-3]: "launch",
  [-4]: "node",
  [-5]: "node",
  [-6]: "node",
  [-7]: "launch",
  [-10]: "launch",
  [-11]: "preempted",
  [-12]: "preempted",
  [-13]: "launch",
  [-14]: "node",
  [-15]: "preempted",
  [-16]: "launch",
  [-17]: "launch",
  [-18]: "preempted",
  [-19]: "cancelled",
  [-20]: "node",
  [-21]: "launch",
  [-22]: "launch",
  [-23]: "launch",
  [-24]: "limit",
  [-25]: "limit",
  [-26]: "oom",
  [-27]: "oom",
  [-28]: "limit",
  [-29]: "timeout",
  [-30]: "node",
};

/** The same names with other numbers, `pbs_job.h` of Torque. */
const torque: Readonly<Record<number, Kind>> = {
  [-1]: "launch",
  [-2]: "launch",
  [-3]: "launch",
  [-4]: "node",
  [-5]: "node",
  [-6]: "node",
  [-7]: "launch",
  [-8]: "launch",
  [-9]: "launch",
  [-10]: "oom",
  [-11]: "timeout",
  [-12]: "limit",
  [-13]: "launch",
};

export interface ExitMeaning {
  readonly kind: Kind;
  readonly exitCode?: number;
  readonly signal?: string;
}

/**
 * Of the attribute `Exit_status`: 0 … 255 is what the script returned, 256 + n means that signal n ended it, a negative number is a reason of
 * the batch system.
 */
export function meaningOfExitStatus(status: number, flavour: Flavour): ExitMeaning {
  if (status < 0) return { kind: (flavour === "torque" ? torque : openpbs)[status] ?? "failed" };
  if (status < 256) return { kind: status === 0 ? "completed" : "failed", exitCode: status };
  return { kind: "failed", signal: signalName(status - 256) };
}

function signalName(number: number): string {
  const found = Object.entries(constants.signals).find(([, value]) => value === number);
  return found?.[0] ?? `signal ${number}`;
}
