import type { RunResult } from "../../hosts/types.ts";
import type { BundledCommand } from "../bundle.ts";
import { smallOutputBytes, submitTimeoutMs } from "../command.ts";
import { wordsOf } from "../text.ts";
import { whyOf } from "../words.ts";
import { isBrokenHook, isHookRejection, kindOfExitCode, kindOfWords, type PbsErrorKind } from "./errors.ts";
import { isPbsId } from "./ids.ts";
import type { Flavour } from "./version.ts";

export type QsubAnswer =
  | { readonly state: "submitted"; readonly id: string }
  | { readonly state: "rejected" | "limited"; readonly reason: string }
  | { readonly state: "unclear"; readonly why: string };

/** The script comes on stdin, so that no file has to be seen by two machines. */
export function qsub(script: string, flavour: Flavour): BundledCommand<QsubAnswer> {
  return {
    argv: ["qsub"],
    stdin: script,
    timeoutMs: submitTimeoutMs,
    maxOutputBytes: smallOutputBytes,
    parse: (result) => parseQsub(result, flavour),
  };
}

/** An id on stdout was given by the server, whatever else is printed around it (banners of a site's wrapper) and whatever the exit status is. */
export function parseQsub(result: RunResult, flavour: Flavour): QsubAnswer {
  const id = result.stdout
    .split("\n")
    .map((line) => line.trim())
    .findLast((line) => line.includes(".") && isPbsId(line));
  if (id !== undefined) return { state: "submitted", id };
  const whole = !result.timedOut && !result.truncated && result.signal === undefined;
  if (!whole || result.exitCode === 0) return { state: "unclear", why: whyOf("qsub", result) };
  const reason = wordsOf(result.stderr) || whyOf("qsub", result);
  switch (kindOfRefusal(result, flavour)) {
    case "limit":
      return { state: "limited", reason };
    case "request":
      return { state: "rejected", reason };
    default:
      return { state: "unclear", why: whyOf("qsub", result) };
  }
}

function kindOfRefusal({ exitCode, stderr }: RunResult, flavour: Flavour): PbsErrorKind | undefined {
  const words = stderr.split("\n").map(kindOfWords);
  if (words.includes("trouble")) return "trouble";
  const known = words.find((kind) => kind !== undefined);
  if (known !== undefined) return known;
  if (flavour === "openpbs" && isHookRejection(exitCode)) return isBrokenHook(stderr) ? "limit" : "request";
  // The command itself refuses options and scripts before it asks anybody.
  if ((exitCode === 1 || exitCode === 2) && /^(usage: *qsub|qsub:)/m.test(stderr)) return "request";
  return flavour === "openpbs" ? kindOfExitCode(exitCode) : undefined;
}
