import type { RunResult } from "../../hosts/types.ts";
import { queryOutputBytes, queryTimeoutMs, type SchedulerCommand } from "../command.ts";
import { wordsOf } from "../text.ts";

/** Why jobs are in the error state, or wait; by their numbers. What is not in it was not told. */
export type ReasonsAnswer = ReadonlyMap<string, string>;

/** Costly for the master: asked for few jobs, and seldom. As text: the XML of a number that is not there any more is none. */
export function qstatJob(ids: readonly string[]): SchedulerCommand<ReasonsAnswer> {
  return {
    argv: ["qstat", "-j", ids.join(",")],
    timeoutMs: queryTimeoutMs,
    maxOutputBytes: queryOutputBytes,
    parse: parseReasons,
  };
}

/** `error reason    1:      text` once a task; `scheduling info:            text`, going on in lines that begin with blanks. */
export function parseReasons(result: RunResult): ReasonsAnswer {
  const reasons = new Map<string, string>();
  for (const block of result.stdout.split(/^=+$/m)) {
    const id = /^job_number:\s+(\d+)\s*$/m.exec(block)?.[1];
    if (id === undefined) continue;
    const errors = [...block.matchAll(/^error reason[^:\n]*:[ \t]+(.+)$/gm)].map((match) => match[1] ?? "");
    const info = /^scheduling info:[ \t]+(.+(?:\n[ \t]+.+)*)/m.exec(block)?.[1] ?? "";
    const words = wordsOf(errors.length > 0 ? [...new Set(errors)].join("; ") : info.replaceAll(/\n[ \t]+/g, "; "));
    if (words !== "" && !/^\(Collecting of scheduler job information is turned off\)/.test(words))
      reasons.set(id, words);
  }
  return reasons;
}
