import { constants } from "node:os";
import type { Verdict } from "../types.ts";

/** As `ExitCode` prints it: the code of the batch script and the signal that ended it, each 0 where there is none. */
export interface ExitStatus {
  /** undefined: what was printed may be another one. */
  readonly code: number | undefined;
  readonly signal: number;
}

/** Slurm's mark for a script that the kernel killed for its memory. */
const outOfMemory = 125;
/** Its mark for a batch script that could not begin: output file, directory, environment. */
const notLaunched = 53;

/** `3:0`, or the raw wait status (`768`) that squeue prints before 23.02; undefined = neither. */
export function parseExitStatus(text: string): ExitStatus | undefined {
  const [, code, signal] = /^(\d{1,5}):(\d{1,5})$/.exec(text) ?? [];
  if (code !== undefined) return { code: Number(code), signal: Number(signal) };
  if (!/^\d{1,10}$/.test(text)) return undefined;
  const status = Number(text);
  return { code: (status >> 8) & 0xff, signal: status & 0x7f };
}

/** What the exit status adds to a state: Slurm calls all of these FAILED. */
export function refinedKind(kind: Verdict["kind"], exit: ExitStatus | undefined): Verdict["kind"] {
  if (exit === undefined || (kind !== "failed" && kind !== "completed")) return kind;
  if (exit.signal === outOfMemory) return "oom";
  if (exit.signal === notLaunched) return "launch";
  // Failed without code and signal: prolog, credential, node. Completed with one: not what it says.
  if (kind === "failed") return exit.code === 0 && exit.signal === 0 ? "launch" : "failed";
  return exit.code === 0 && exit.signal === 0 ? "completed" : "failed";
}

/** Code or signal of an end, where they mean what they say: a code of 0 beside any state but COMPLETED means nothing. */
export function exitFields(
  kind: Verdict["kind"],
  exit: ExitStatus | undefined,
): { readonly exitCode?: number; readonly signal?: string } {
  if (exit === undefined || exit.signal === outOfMemory || exit.signal === notLaunched) return {};
  if (exit.signal > 0) return { signal: signalName(exit.signal) };
  if (exit.code === undefined || (exit.code === 0 && kind !== "completed")) return {};
  return { exitCode: exit.code };
}

function signalName(number: number): string {
  const [name = `SIG${number}`] = Object.entries(constants.signals).find(([, value]) => value === number) ?? [];
  return name;
}
