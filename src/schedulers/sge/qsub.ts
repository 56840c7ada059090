import type { RunResult } from "../../hosts/types.ts";
import type { BundledCommand } from "../bundle.ts";
import { smallOutputBytes, submitTimeoutMs } from "../command.ts";
import { wordsOf } from "../text.ts";
import { whyOf } from "../words.ts";
import { isTrouble } from "./trouble.ts";

export type QsubAnswer =
  | { readonly state: "submitted"; readonly id: string }
  | { readonly state: "rejected" | "limited"; readonly reason: string }
  | { readonly state: "unclear"; readonly why: string };

/** A limit of the user or the cluster is reached (STATUS_NOTOK_DOAGAIN). */
const tryAgain = 25;
const refusals =
  /^Unable to run job: |^qsub: (?:invalid|unknown|error)|^Unable to read script file|job rejected|^denied:|is not a valid|Unknown option/m;

/**
 * The script comes on stdin, without an operand. What a site's defaults (`sge_request`) may have turned round is said: a script and no binary,
 * not waited for. `-terse` is ignored inside of scripts by some versions.
 */
export function qsub(script: string): BundledCommand<QsubAnswer> {
  return {
    argv: ["qsub", "-terse", "-b", "n", "-sync", "n", "-now", "n"],
    stdin: script,
    timeoutMs: submitTimeoutMs,
    maxOutputBytes: smallOutputBytes,
    parse: parseQsub,
  };
}

/** `123`, of an array `123.1-4:1`; the last such line, among whatever else a site's wrapper prints. */
export function parseQsub(result: RunResult): QsubAnswer {
  const id = result.stdout
    .split("\n")
    .map((line) => /^\s*([1-9]\d{0,14})(?:\.\d+-\d+:\d+)?\s*$/.exec(line)?.[1])
    .findLast((found) => found !== undefined);
  if (id !== undefined) return { state: "submitted", id };
  if (isTrouble(result) || result.exitCode === 0) return { state: "unclear", why: whyOf("qsub", result) };
  const said = `${result.stderr}\n${result.stdout}`;
  const reason = wordsOf(said.replaceAll(/^(?:Unable to run job: |Exiting\.$)/gm, "")) || whyOf("qsub", result);
  if (result.exitCode === tryAgain) return { state: "limited", reason };
  if (refusals.test(said)) return { state: "rejected", reason };
  return { state: "unclear", why: whyOf("qsub", result) };
}
