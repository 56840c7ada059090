import type { RunResult } from "../hosts/types.ts";
import { wordsOf } from "./text.ts";

/** Why a command gave no answer, for people: what it said, else how it ended. */
export function whyOf(name: string, result: RunResult): string {
  if (result.timedOut) return `${name} did not answer in time`;
  if (result.truncated) return `${name} printed more than is read`;
  const words = wordsOf(result.stderr) || wordsOf(result.stdout);
  const end = result.signal === undefined ? `exit status ${result.exitCode}` : result.signal;
  return words === "" ? `${name}: ${end}` : `${name}: ${words} (${end})`;
}
