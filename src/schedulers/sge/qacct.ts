import type { RunResult } from "../../hosts/types.ts";
import { queryOutputBytes, queryTimeoutMs, type SchedulerCommand } from "../command.ts";
import { whyOf } from "../words.ts";
import { bytesOf } from "./failed.ts";

export interface AccountingRecord {
  readonly id: string;
  readonly name: string;
  readonly owner: string;
  /** From 1; undefined: no array. */
  readonly task: number | undefined;
  readonly failed: number;
  /** What Grid Engine says of it. */
  readonly failedWords: string;
  readonly exitStatus: number;
  /** Who deleted it, in versions that tell. */
  readonly deletedBy: string | undefined;
  /** ISO 8601. */
  readonly submittedAt: string | undefined;
  readonly startedAt: string | undefined;
  readonly endedAt: string | undefined;
  readonly wallclockSeconds: number | undefined;
  readonly cpuSeconds: number | undefined;
  readonly maxVmemBytes: number | undefined;
  /** `-l h_rt=2`: what was asked for, in versions that tell. */
  readonly category: string | undefined;
}

export type QacctAnswer =
  /** In the order of the file: a job that ran again has several, the last counts. */
  | { readonly state: "answer"; readonly records: readonly AccountingRecord[] }
  /** There is no accounting file that this host can see: none yet, or none at all. */
  | { readonly state: "no-file" }
  /** `tooLong`: there is an answer, and more of it than can be read. */
  | { readonly state: "unknown"; readonly why: string; readonly tooLong?: boolean };

/** One job by its number, or all whose names fit a pattern. Of several numbers the first alone would be answered. Reads the whole file; asks no master. */
export function qacctJob(idOrPattern: string): SchedulerCommand<QacctAnswer> {
  return command(["qacct", "-j", idOrPattern]);
}

/** All of the account's jobs that started since (ISO 8601). Jobs that could not be started have no start, and are not in it. */
export function qacctSince(account: string, since: string): SchedulerCommand<QacctAnswer> {
  const digits = since.replaceAll(/\D/g, "").slice(0, 12);
  return command(["qacct", "-o", account, "-b", digits, "-j"]);
}

function command(argv: readonly [string, ...string[]]): SchedulerCommand<QacctAnswer> {
  return { argv, timeoutMs: queryTimeoutMs, maxOutputBytes: queryOutputBytes, parse: parseQacct };
}

export function parseQacct(result: RunResult): QacctAnswer {
  const { stdout, stderr, exitCode, signal, timedOut, truncated } = result;
  if (timedOut || truncated || signal !== undefined) {
    return { state: "unknown", why: whyOf("qacct", result), tooLong: truncated && !timedOut };
  }
  if (exitCode !== 0) {
    if (/job (?:id|name) .* not found/i.test(stderr)) return { state: "answer", records: [] };
    if (/no jobs running since startup/.test(`${stdout}\n${stderr}`)) return { state: "no-file" };
    return { state: "unknown", why: whyOf("qacct", result) };
  }
  const records: AccountingRecord[] = [];
  for (const block of stdout.split(/^=+$/m).slice(1)) {
    if (!/^jobnumber\s/m.test(block)) continue; // the summary of all
    const record = recordOf(block);
    if (record === undefined) return { state: "unknown", why: "qacct printed a record that cannot be read" };
    records.push(record);
  }
  return { state: "answer", records };
}

const wanted = new Set(
  `jobnumber jobname owner taskid failed exit_status deleted_by qsub_time start_time end_time ru_wallclock cpu maxvmem category`.split(
    " ",
  ),
);

function recordOf(block: string): AccountingRecord | undefined {
  const fields = new Map<string, string>();
  for (const line of block.split("\n")) {
    const end = line.indexOf(" ");
    const name = line.slice(0, end);
    if (wanted.has(name)) fields.set(name, line.slice(end).trim());
  }
  const id = fields.get("jobnumber");
  const failed = /^(\d+)(?:\s*:\s*(.*))?$/.exec(fields.get("failed") ?? "");
  const exitStatus = /^(\d+)/.exec(fields.get("exit_status") ?? "")?.[1];
  if (id === undefined || !failed || exitStatus === undefined) return undefined;
  const task = Number(fields.get("taskid"));
  return {
    id,
    name: fields.get("jobname") ?? "",
    owner: fields.get("owner") ?? "",
    task: Number.isInteger(task) && task > 0 ? task : undefined,
    failed: Number(failed[1]),
    failedWords: failed[2] ?? "",
    exitStatus: Number(exitStatus),
    deletedBy: named(fields.get("deleted_by")),
    submittedAt: timeOf(fields.get("qsub_time")),
    startedAt: timeOf(fields.get("start_time")),
    endedAt: timeOf(fields.get("end_time")),
    wallclockSeconds: secondsOf(fields.get("ru_wallclock")),
    cpuSeconds: secondsOf(fields.get("cpu")),
    maxVmemBytes: bytesOf(fields.get("maxvmem")),
    category: named(fields.get("category")),
  };
}

function named(text: string | undefined): string | undefined {
  return text === undefined || text === "" || text.toUpperCase() === "NONE" ? undefined : text;
}

function secondsOf(text: string | undefined): number | undefined {
  const number = /^(\d+(?:\.\d+)?)s?$/.exec(text ?? "")?.[1];
  return number === undefined ? undefined : Number(number);
}

/** `Sat Nov 21 17:16:00 2026`, in newer versions `11/21/2026 17:16:00.123`; in UTC, because qacct runs so. `-/-` and 1970: never. */
function timeOf(text: string | undefined): string | undefined {
  const known = /^(?:[A-Z][a-z]{2} [A-Z][a-z]{2} +\d{1,2} \d\d:\d\d:\d\d \d{4}|\d\d\/\d\d\/\d{4} \d\d:\d\d:\d\d)/.exec(
    text ?? "",
  )?.[0];
  const ms = known === undefined ? Number.NaN : Date.parse(`${known} UTC`);
  return Number.isNaN(ms) || ms <= 0 ? undefined : new Date(ms).toISOString();
}
