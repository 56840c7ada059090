import type { Steps } from "../../common/slices.ts";
import type { RunResult } from "../../hosts/types.ts";
import { queryOutputBytes, queryTimeoutMs, type SchedulerCommand } from "../command.ts";
import { whyOf } from "../words.ts";
import { isTrouble } from "./trouble.ts";

/** One line of the queue: a job, or those tasks of an array that are in the same state. */
export interface QueueEntry {
  readonly id: string;
  readonly name: string;
  readonly letters: string;
  /** `2,3`, `5-10:1`; undefined: no array. */
  readonly tasks: string | undefined;
  /** ISO 8601, of the submission (waiting) or the start (running). */
  readonly at: string | undefined;
  /** `all.q@host`; empty while it waits. */
  readonly queue: string;
}

export type QstatAnswer =
  | { readonly state: "answer"; readonly entries: ReadonlyMap<string, readonly QueueEntry[]> }
  | { readonly state: "unknown"; readonly why: string };

/** All of the account's jobs that have not ended, with their full names. Times are in UTC: qstat formats them in the zone that it runs in. */
export function qstat(account: string): SchedulerCommand<QstatAnswer> {
  return {
    argv: ["qstat", "-u", account, "-xml", "-r", "-s", "a"],
    timeoutMs: queryTimeoutMs,
    maxOutputBytes: queryOutputBytes,
    parse: parseQstat,
  };
}

/** Half an answer is none: the document has to be closed. */
export function* parseQstat(result: RunResult): Steps<QstatAnswer> {
  const text = result.stdout;
  const start = text.search(/<job_info[\s>]/);
  const whole = start >= 0 && text.trimEnd().endsWith("</job_info>");
  if (isTrouble(result) || result.exitCode !== 0 || !whole) return { state: "unknown", why: whyOf("qstat", result) };
  const entries = new Map<string, QueueEntry[]>();
  for (const part of text.slice(start).split("<job_list ").slice(1)) {
    yield;
    const end = part.indexOf("</job_list>");
    const entry = end < 0 ? undefined : entryOf(part.slice(0, end));
    if (entry === undefined) return { state: "unknown", why: "qstat printed a job that cannot be read" };
    const others = entries.get(entry.id);
    if (others) others.push(entry);
    else entries.set(entry.id, [entry]);
  }
  return { state: "answer", entries };
}

function entryOf(text: string): QueueEntry | undefined {
  const tag = (name: string): string | undefined => {
    const from = text.indexOf(`<${name}>`);
    const to = from < 0 ? -1 : text.indexOf("</", from);
    return to < 0 ? undefined : unescaped(text.slice(from + name.length + 2, to)).trim();
  };
  const id = tag("JB_job_number");
  const letters = tag("state");
  if (id === undefined || letters === undefined) return undefined;
  const at = timeOf(tag("JAT_start_time") ?? tag("JB_submission_time"));
  const name = tag("full_job_name") ?? tag("JB_name") ?? "";
  return { id, name, letters, tasks: tag("tasks"), at, queue: tag("queue_name") ?? "" };
}

const entities: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

function unescaped(text: string): string {
  if (!text.includes("&")) return text;
  return text.replaceAll(/&(amp|lt|gt|quot|apos);/g, (_, name: string) => entities[name] ?? "");
}

/** `2026-11-21T17:16:00`, in some versions with a fraction. */
function timeOf(text: string | undefined): string | undefined {
  const parts = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?$/.exec(text ?? "");
  const ms = parts ? Date.parse(`${parts[1]}Z`) : Number.NaN;
  return Number.isNaN(ms) || ms <= 0 ? undefined : new Date(ms).toISOString();
}
