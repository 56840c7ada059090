import type { RunResult } from "../../hosts/types.ts";
import { wordsOf } from "../text.ts";
import type { OrderResult } from "../types.ts";
import { whyOf } from "../words.ts";
import { isTrouble } from "./trouble.ts";

export interface OrderAnswer {
  readonly result: OrderResult;
  /** It waited and is gone: there will be no accounting record of it. */
  readonly neverRan: boolean;
}

/**
 * What qdel, qhold and qrls say, one line for each job or group of tasks; by the operands of the order. qdel speaks of every job, qhold and
 * qrls of those alone whose hold they changed.
 */
export function parseOrder(
  name: "qdel" | "qhold" | "qrls",
  operands: readonly string[],
  result: RunResult,
): ReadonlyMap<string, OrderAnswer> {
  const lines = `${result.stdout}\n${result.stderr}`.split("\n").filter((line) => line.trim() !== "");
  const explained = !isTrouble(result) && lines.every((line) => operands.some((operand) => mentions(line, operand)));
  const rest: OrderResult =
    explained && name !== "qdel" ? { state: "requested" } : { state: "unknown", why: whyOf(name, result) };
  return new Map(
    operands.map((operand) => {
      const said = lines.filter((line) => mentions(line, operand));
      const meanings = said.map(meaningOf).filter((meaning) => meaning !== undefined);
      const meaning = meanings.find(({ state }) => state === "requested") ?? meanings[0];
      const waited = said.some((line) => /has deleted job/.test(line));
      const ran = said.some((line) => /has registered|already in deletion/.test(line));
      return [operand, { result: meaning ?? rest, neverRan: waited && !ran }] as const;
    }),
  );
}

/** `job 7`, `job "7"`, `job-array task 7.2`, `job-array task 7.2-4:1`: of an array's number all lines of its tasks. */
function mentions(line: string, operand: string): boolean {
  const found = /\b(?:job|task|jobs)\s+"?(\d+)(?:\.(\d+)(?:-\d+:\d+)?)?"?/.exec(line);
  if (!found) return false;
  const [id, task] = operand.split(".");
  return found[1] === id && (task === undefined || found[2] === undefined || found[2] === task);
}

function meaningOf(line: string): OrderResult | undefined {
  if (/has registered|has deleted|already in deletion|modified hold|has been (?:held|released)/.test(line))
    return { state: "requested" };
  if (/does not exist/.test(line)) return { state: "over" };
  if (/necessary privileges|must be at least|denied/.test(line)) return { state: "refused", reason: wordsOf(line) };
  return undefined;
}
