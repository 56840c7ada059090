import type { RunResult } from "../../hosts/types.ts";
import type { Steps } from "../../common/slices.ts";
import { isToken, type Token } from "../../common/token.ts";
import { queryOutputBytes, queryTimeoutMs, type SchedulerCommand } from "../command.ts";
import { type ExitStatus, parseExitStatus } from "./exit-status.ts";
import { type ListedId, parseListedId } from "./ids.ts";
import { noAnswer } from "./trouble.ts";

/** A job or task of this account that bears a token of ours, as the queue has it. Times are seconds since 1970. */
export interface QueueRow extends ListedId {
  readonly token: Token;
  readonly state: string;
  readonly reason: string;
  readonly submitted: number | undefined;
  readonly started: number | undefined;
  readonly ended: number | undefined;
  readonly nodes: string;
  readonly exit: ExitStatus | undefined;
  readonly restarts: number;
}

export type QueueAnswer =
  | {
      readonly state: "answered";
      readonly rows: readonly QueueRow[];
      /** undefined: all of the queue was read. Else what is wrong with the rest: what is not among the rows may be there. */
      readonly incomplete: string | undefined;
    }
  | { readonly state: "unknown"; readonly why: string };

/** Neither can occur in a name, comment or reason that a person typed. */
const fieldEnd = "\u001f";
const rowEnd = "\u001e";
const fields = [
  "JobArrayID",
  "State",
  "Reason",
  "SubmitTime",
  "StartTime",
  "EndTime",
  "NodeList",
  "exit_code",
  "RestartCnt",
  "Name",
  "Comment",
] as const;
const format = fields.map((name, index) => `${name}:${index === fields.length - 1 ? rowEnd : fieldEnd}`).join(",");

/**
 * All jobs of this account, ended ones that are still listed included. By account and nothing else: a filter by partition loses jobs that
 * were moved, one by ids or names makes the controller send everybody's jobs. Text with separators, not JSON: a hundredth of the bytes,
 * the same in all versions since 20.02; a field with a suffix is printed in full.
 */
export function squeue(cluster: string | undefined): SchedulerCommand<QueueAnswer> {
  return {
    argv: [
      "squeue",
      ...(cluster === undefined ? [] : ["-M", cluster]),
      "--me",
      "-h",
      "-a",
      "-r",
      "-t",
      "all",
      "-O",
      format,
    ],
    environment: { SLURM_TIME_FORMAT: "%s" },
    timeoutMs: queryTimeoutMs,
    maxOutputBytes: queryOutputBytes,
    parse: parseSqueue,
  };
}

export function* parseSqueue(result: RunResult): Steps<QueueAnswer> {
  const why = noAnswer("squeue", result);
  if (why !== undefined) return { state: "unknown", why };
  const rows: QueueRow[] = [];
  const texts = result.stdout.split(rowEnd);
  const rest = texts.pop() ?? "";
  let incomplete = rest.trim() === "" || isHeading(rest) ? undefined : "the answer of squeue breaks off";
  for (const text of texts) {
    const values = text.split(fieldEnd);
    if (values.length === fields.length) {
      const row = rowOf(values);
      if (row) rows.push(row);
    } else {
      incomplete = "squeue printed a row that cannot be read";
    }
    yield;
  }
  return { state: "answered", rows, incomplete };
}

/** `CLUSTER: name` stands before the jobs of each cluster, in spite of `-h`, and alone when it has none. */
function isHeading(text: string): boolean {
  return /^\s*CLUSTER: \S+\s*$/.test(text);
}

function rowOf(values: readonly string[]): QueueRow | undefined {
  const [id = "", state = "", reason = "", submitted = "", started = "", ended = "", nodes = ""] = values;
  const [exit = "", restarts = "", name = "", comment = ""] = values.slice(7);
  const token = tokenOf(name, comment);
  if (token === undefined) return undefined;
  const listed = parseListedId(id.slice(id.lastIndexOf("\n") + 1).trim());
  if (listed === undefined) return undefined;
  return {
    ...listed,
    token,
    state: state.trim(),
    reason: reason.trim(),
    submitted: seconds(submitted),
    started: seconds(started),
    ended: seconds(ended),
    nodes: nodes.trim(),
    exit: parseExitStatus(exit.trim()),
    restarts: Number(restarts) || 0,
  };
}

/** A site's plugin may alter one of the two places. */
function tokenOf(name: string, comment: string): Token | undefined {
  if (isToken(name)) return name;
  return comment.split(/[\s,;|]+/).find(isToken);
}

/** `N/A`, `Unknown`, `NONE` and 0 are no times. */
export function seconds(text: string): number | undefined {
  return /^[1-9]\d{0,11}$/.test(text) ? Number(text) : undefined;
}
