import { inRanges } from "../directive-words.ts";
import type { ScheduledJob, ScheduledStatus } from "../types.ts";
import { isRescheduling, verdictOf } from "./failed.ts";
import { taskNumber } from "./ids.ts";
import type { JobMemory } from "./memory.ts";
import type { AccountingRecord } from "./qacct.ts";
import type { QueueEntry } from "./qstat.ts";

/** The master's clock may be wrong by so much against ours. */
const clockSkewMs = 86_400_000;
/** Records come some 15 s after the end, later where the file is on another machine: so long a job that was just there is not called absent. */
export const recordGraceMs = 120_000;

/** That part of the queue's entries that is this job; numbers are used again, and a name is not. */
export function entryOf(job: ScheduledJob, entries: readonly QueueEntry[]): QueueEntry | undefined {
  const own = entries.filter((entry) => isEntryOf(job, entry));
  if (job.task === undefined) return own.find(({ queue }) => queue !== "") ?? own[0];
  const number = taskNumber(job.task);
  return own.find(({ tasks }) => inRanges(tasks, number));
}

function isEntryOf(job: ScheduledJob, entry: QueueEntry): boolean {
  return entry.name === job.token && isNotOlder(job, entry.at);
}

/** What accounting and memory say of a job that is not in the queue. `entries`: what is there under its number. */
export function afterQueue(
  job: ScheduledJob,
  entries: readonly QueueEntry[],
  records: readonly AccountingRecord[],
  memory: JobMemory,
  now: number,
): ScheduledStatus {
  const isOthers = (entry: QueueEntry): boolean => !isEntryOf(job, entry);
  const deleted = memory.deletion(job);
  const last = lastOf(job, records);
  const missingMs = memory.missingFor(job, now);
  if (last !== undefined && !isRescheduling(last)) {
    return { state: "ended", verdict: verdictOf(last, deleted !== undefined) };
  }
  if (deleted !== "waiting" && !entries.some(isOthers) && memory.of(job).known && missingMs < recordGraceMs)
    return { state: "finishing" };
  // Put back into the queue after its last run, and deleted there.
  return last === undefined ? { state: "absent" } : { state: "ended", verdict: verdictOf(last, true) };
}

/** The newest record of it. Of an array the record of a task that did not succeed, if there is one. */
function lastOf(job: ScheduledJob, records: readonly AccountingRecord[]): AccountingRecord | undefined {
  const own = records.filter((record) => record.id === job.id && isRecordOf(job, record));
  if (job.task === undefined)
    return own.findLast(({ failed, exitStatus }) => failed !== 0 || exitStatus !== 0) ?? own.at(-1);
  return own.findLast(({ task }) => task === taskNumber(job.task ?? 0));
}

export function isRecordOf(job: Pick<ScheduledJob, "token" | "submittedAt">, record: AccountingRecord): boolean {
  return record.name === job.token && isNotOlder(job, record.submittedAt);
}

function isNotOlder({ submittedAt }: Pick<ScheduledJob, "submittedAt">, at: string | undefined): boolean {
  return at === undefined || Date.parse(at) >= Date.parse(submittedAt) - clockSkewMs;
}
