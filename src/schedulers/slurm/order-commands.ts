import type { RunResult } from "../../hosts/types.ts";
import { orderTimeoutMs, type SchedulerCommand, smallOutputBytes } from "../command.ts";
import { wordsOf } from "../text.ts";
import type { OrderResult } from "../types.ts";
import { noAnswer, troubleIn } from "./trouble.ts";

/** One result for each operand, in order. */
export type OrderAnswer = readonly OrderResult[];

/** `operands`: ids whose grammar and owner were checked; at least one. Without `-Q`, so that refusals are told. */
export function scancel(cluster: string | undefined, operands: readonly string[]): SchedulerCommand<OrderAnswer> {
  return {
    argv: ["scancel", ...(cluster === undefined ? [] : ["-M", cluster]), ...operands],
    timeoutMs: orderTimeoutMs,
    maxOutputBytes: smallOutputBytes,
    parse: (result) => orderAnswer("scancel", result, operands),
  };
}

/** `hold` keeps waiting jobs from starting, `release` lets them go. */
export function scontrolOrder(
  verb: "hold" | "release",
  cluster: string | undefined,
  operands: readonly string[],
): SchedulerCommand<OrderAnswer> {
  return {
    argv: ["scontrol", ...(cluster === undefined ? [] : ["-M", cluster]), verb, operands.join(",")],
    timeoutMs: orderTimeoutMs,
    maxOutputBytes: smallOutputBytes,
    parse: (result) => orderAnswer("scontrol", result, operands),
  };
}

const over = /already (?:finished|completing or completed)|Invalid job id|Job has already finished/i;

/** Both commands try all operands and name those that failed, each in one of three forms. */
function orderAnswer(command: string, result: RunResult, operands: readonly string[]): OrderAnswer {
  const failures = new Map<string, string>();
  for (const line of `${result.stderr}\n${result.stdout}`.split("\n")) {
    const [, id, text] = /Kill job error on job id (\S+): (.+)$/.exec(line) ?? /^(\d[\d_]*): (.+)$/.exec(line) ?? [];
    const [, words, job] = /^(.+) for job (\d[\d_]*)$/.exec(line) ?? [];
    if (id !== undefined && text !== undefined) failures.set(id, text);
    else if (job !== undefined && words !== undefined) failures.set(job, words);
  }
  // Failures of some operands make the whole command fail; without one of them the command itself did.
  const why = failures.size > 0 && !result.timedOut ? undefined : noAnswer(command, result);
  return operands.map((operand) => {
    const words = failures.get(operand);
    if (words === undefined) return why === undefined ? { state: "requested" } : { state: "unknown", why };
    if (over.test(words)) return { state: "over" };
    const trouble = troubleIn(words);
    return trouble === undefined ? { state: "refused", reason: wordsOf(words) } : { state: "unknown", why: trouble };
  });
}
