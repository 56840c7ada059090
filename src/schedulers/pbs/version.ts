import type { RunResult } from "../../hosts/types.ts";
import { queryTimeoutMs, type SchedulerCommand, smallOutputBytes } from "../command.ts";

/** OpenPBS and PBS Professional are one; Torque has the same names and other options, formats and numbers. */
export type Flavour = "openpbs" | "torque";

export type VersionAnswer =
  | { readonly ok: true; readonly flavour: Flavour; readonly version: string }
  | { readonly ok: false; readonly why: string };

/** Asks no server. OpenPBS answers on stdout (`pbs_version = 23.06.06`), Torque on stderr (`Version: 6.1.3`). */
export function qstatVersion(): SchedulerCommand<VersionAnswer> {
  return { argv: ["qstat", "--version"], timeoutMs: queryTimeoutMs, maxOutputBytes: smallOutputBytes, parse };
}

function parse({ stdout, stderr, exitCode, timedOut }: RunResult): VersionAnswer {
  const text = `${stdout}\n${stderr}`;
  const openpbs = /pbs_version\s*=\s*(\S+)/i.exec(text)?.[1];
  if (openpbs !== undefined) return { ok: true, flavour: "openpbs", version: openpbs };
  const torque = /^version:\s*(\S+)/im.exec(text)?.[1];
  if (torque !== undefined) return { ok: true, flavour: "torque", version: `Torque ${torque}` };
  const words = text.trim().split("\n")[0] ?? "";
  return {
    ok: false,
    why: timedOut ? "qstat --version did not end in time" : `qstat --version (${exitCode}): ${words}`,
  };
}
