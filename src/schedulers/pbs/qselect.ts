import type { Token } from "../../common/token.ts";
import type { RunResult } from "../../hosts/types.ts";
import { queryTimeoutMs, type SchedulerCommand, smallOutputBytes } from "../command.ts";
import { whyOf } from "../words.ts";
import { kindOfWords } from "./errors.ts";
import { isPbsId } from "./ids.ts";

export type QselectAnswer =
  | { readonly state: "answer"; readonly ids: readonly string[] }
  /** Asked for its history a server that keeps none; it answers nothing then, with exit status 0. */
  | { readonly state: "no-history" }
  | { readonly state: "unknown"; readonly why: string };

/** The ids of jobs with this name. `history`: ended ones, too; Torque shows them unasked and has no such option. */
export function qselect(token: Token, history: boolean): SchedulerCommand<QselectAnswer> {
  return {
    argv: ["qselect", ...(history ? ["-x"] : []), "-N", token],
    timeoutMs: queryTimeoutMs,
    maxOutputBytes: smallOutputBytes,
    parse: parseQselect,
  };
}

export function parseQselect(result: RunResult): QselectAnswer {
  const kinds = result.stderr.split("\n").map(kindOfWords);
  if (kinds.includes("no-history")) return { state: "no-history" };
  const whole = result.exitCode === 0 && !result.timedOut && !result.truncated;
  const clean = kinds.every((kind) => kind === undefined) && !/^qselect:/m.test(result.stderr);
  if (!whole || !clean) return { state: "unknown", why: whyOf("qselect", result) };
  const lines = result.stdout.split("\n").map((line) => line.trim());
  return { state: "answer", ids: [...new Set(lines.filter((line) => line.includes(".") && isPbsId(line)))] };
}
