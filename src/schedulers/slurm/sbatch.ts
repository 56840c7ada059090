import type { RunResult } from "../../hosts/types.ts";
import type { BundledCommand } from "../bundle.ts";
import { smallOutputBytes, submitTimeoutMs } from "../command.ts";
import { wordsOf } from "../text.ts";
import { classifyRefusal, type Refusal } from "./rejections.ts";

export type SbatchAnswer =
  | { readonly state: "submitted"; readonly id: string; readonly cluster: string | undefined }
  /** It printed an id, but ended badly, or printed several: the queue has to say. */
  | { readonly state: "printed"; readonly why: string }
  | Refusal;

export interface SbatchQuestion {
  readonly cluster: string | undefined;
  readonly script: string;
  /** `NIL`: nothing of sbatch's environment reaches the job. Only versions from 23.02.3 on know it. */
  readonly exportNothing: boolean;
}

/**
 * The script goes through standard input: no file system between us and Slurm. Versions that do not know `NIL` would, asked for it or for
 * `NONE`, start a login shell of the account on the node, and requeue and hold the job when that fails; they get what sbatch has, which is
 * the host's environment of the site file and nothing of the agent's.
 */
export function sbatch({ cluster, script, exportNothing }: SbatchQuestion): BundledCommand<SbatchAnswer> {
  const options = ["--parsable", "--ignore-pbs", `--export=${exportNothing ? "NIL" : "ALL"}`];
  return {
    argv: ["sbatch", ...options, ...(cluster === undefined ? [] : ["-M", cluster])],
    stdin: script,
    timeoutMs: submitTimeoutMs,
    maxOutputBytes: smallOutputBytes,
    parse: parseSbatch,
  };
}

export function parseSbatch(result: RunResult): SbatchAnswer {
  const ids = printedIds(result.stdout);
  const [first] = ids.values();
  if (first !== undefined) {
    if (ids.size === 1 && result.exitCode === 0 && !result.truncated) return { state: "submitted", ...first };
    const said = wordsOf(result.stderr) || wordsOf(result.stdout);
    return {
      state: "printed",
      why: `sbatch printed ${ids.size === 1 ? "an id" : "several ids"} and ended with ${ending(result)}: ${said}`,
    };
  }
  if (result.timedOut) return { state: "unclear", why: "sbatch did not end within its time limit" };
  if (result.exitCode === 0) {
    return {
      state: "unclear",
      why: `sbatch printed no id: ${wordsOf(result.stdout + result.stderr) || "nothing at all"}`,
    };
  }
  const refusal = classifyRefusal(result.stderr || result.stdout);
  // Somebody ended it: what it had said until then is no answer.
  if (result.signal !== undefined) return { state: "unclear", why: `sbatch was ended by ${result.signal}` };
  return refusal;
}

/** Lines that are an id and nothing else, or the known sentence: sites put banners around them. */
function printedIds(
  stdout: string,
): ReadonlyMap<string, { readonly id: string; readonly cluster: string | undefined }> {
  const found = new Map<string, { id: string; cluster: string | undefined }>();
  for (const line of stdout.split("\n")) {
    const match =
      /^([1-9]\d{0,9})(?:;([\w.-]+))?$/.exec(line.trim()) ??
      /^Submitted batch job ([1-9]\d{0,9})(?: on cluster ([\w.-]+))?$/.exec(line.trim());
    const [, id, cluster] = match ?? [];
    if (id !== undefined) found.set(id, { id, cluster });
  }
  return found;
}

function ending(result: RunResult): string {
  if (result.timedOut) return "its time limit";
  return result.signal ?? `exit code ${result.exitCode}`;
}
