import type { RunResult } from "../../hosts/types.ts";
import type { Steps } from "../../common/slices.ts";
import { isToken, type Token } from "../../common/token.ts";
import { queryOutputBytes, queryTimeoutMs, type SchedulerCommand } from "../command.ts";
import { type ExitStatus, parseExitStatus } from "./exit-status.ts";
import { type ListedId, parseListedId } from "./ids.ts";
import { seconds } from "./squeue.ts";
import { noAnswer } from "./trouble.ts";
import { cpuSeconds, sizeInBytes } from "./usage.ts";

/** A job or task as accounting has it, with what matters of its steps. Times are seconds since 1970. */
export interface AccountingRow extends ListedId {
  readonly token: Token;
  readonly state: string;
  readonly exit: ExitStatus | undefined;
  readonly reason: string;
  readonly submitted: number | undefined;
  readonly started: number | undefined;
  readonly ended: number | undefined;
  readonly cpuSeconds: number | undefined;
  /** The largest of its steps. */
  readonly maxRssBytes: number | undefined;
  /** Steps that were killed for their memory (`0`, `batch`); the job itself may have gone on. */
  readonly oomSteps: readonly string[];
}

export type AccountingAnswer =
  | { readonly state: "answered"; readonly rows: readonly AccountingRow[] }
  /** This cluster keeps none. */
  | { readonly state: "disabled" }
  /** More than fits: ask for fewer at once. */
  | { readonly state: "too-much" }
  | { readonly state: "unknown"; readonly why: string };

const separator = "\u001f";
const fields = [
  "JobID",
  "State",
  "ExitCode",
  "Reason",
  "Submit",
  "Start",
  "End",
  "TotalCPU",
  "MaxRSS",
  "JobName",
] as const;

export interface AccountingQuestion {
  readonly cluster: string | undefined;
  /** Seconds since 1970. Ids begin again: without this bound the record of years ago, and of anybody, would answer. */
  readonly since: number;
  readonly by: { readonly ids: readonly string[] } | { readonly names: readonly string[] };
}

export function sacct(question: AccountingQuestion): SchedulerCommand<AccountingAnswer> {
  const { cluster, since, by } = question;
  // Steps tell of memory; for names the jobs alone are wanted.
  const which = "ids" in by ? ["-j", by.ids.join(",")] : ["-X", `--name=${by.names.join(",")}`];
  const start = new Date(since * 1000).toISOString().slice(0, 19); // the commands run with TZ=UTC
  const form = ["-n", "-P", `--delimiter=${separator}`, "-S", start, "-o", fields.join(",")];
  return {
    argv: ["sacct", ...(cluster === undefined ? [] : ["-M", cluster]), ...form, ...which],
    environment: { SLURM_TIME_FORMAT: "%s" },
    timeoutMs: queryTimeoutMs,
    maxOutputBytes: queryOutputBytes,
    parse: parseSacct,
  };
}

export function* parseSacct(result: RunResult): Steps<AccountingAnswer> {
  if (/accounting storage is disabled/i.test(result.stderr + result.stdout.slice(0, 1_000)))
    return { state: "disabled" };
  if (result.truncated && !result.timedOut) return { state: "too-much" };
  const why = noAnswer("sacct", result);
  if (why !== undefined) return { state: "unknown", why };
  if (result.stdout !== "" && !result.stdout.endsWith("\n")) {
    return { state: "unknown", why: "the answer of sacct breaks off" };
  }
  return { state: "answered", rows: yield* withSteps(result.stdout.split("\n")) };
}

/** Steps follow their job. */
function* withSteps(lines: readonly string[]): Steps<readonly AccountingRow[]> {
  const rows: AccountingRow[] = [];
  const indices = new Map<string, number>();
  for (const line of lines) {
    yield;
    const values = line.split(separator);
    // A job's name may have line breaks: what follows one is no row. A name with the separator is none of ours.
    if (values.length !== fields.length) continue;
    const [id = ""] = values;
    const dot = id.indexOf(".");
    const index = dot < 0 ? undefined : indices.get(id.slice(0, dot));
    if (dot < 0) {
      const row = rowOf(values);
      if (row === undefined) continue;
      indices.set(id, rows.push(row) - 1);
    } else if (index !== undefined) {
      const job = rows[index];
      if (job) rows[index] = withStep(job, id.slice(dot + 1), values);
    }
  }
  return rows;
}

function rowOf(values: readonly string[]): AccountingRow | undefined {
  const [id = "", state = "", exit = "", reason = "", submitted = "", started = "", ended = ""] = values;
  const [cpu = "", rss = "", name = ""] = values.slice(7);
  const listed = parseListedId(id);
  if (listed === undefined || !isToken(name)) return undefined;
  return {
    ...listed,
    token: name,
    state,
    exit: parseExitStatus(exit),
    reason: reason === "None" ? "" : reason,
    submitted: seconds(submitted),
    started: seconds(started),
    ended: seconds(ended),
    cpuSeconds: cpuSeconds(cpu),
    maxRssBytes: sizeInBytes(rss),
    oomSteps: [],
  };
}

function withStep(job: AccountingRow, step: string, values: readonly string[]): AccountingRow {
  const [, state = ""] = values;
  const rss = sizeInBytes(values[8] ?? "");
  const maxRssBytes = rss === undefined ? job.maxRssBytes : Math.max(rss, job.maxRssBytes ?? 0);
  const oomSteps = state.startsWith("OUT_OF_ME") ? [...job.oomSteps, step] : job.oomSteps;
  return { ...job, maxRssBytes, oomSteps };
}
