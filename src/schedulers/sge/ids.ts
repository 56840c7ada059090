import type { ScheduledJob } from "../types.ts";

/** A job's number and nothing else: everything else would be a name or a pattern to Grid Engine's commands. */
const grammar = /^[1-9]\d{0,14}$/;

export function isSgeId(text: string): boolean {
  return grammar.test(text);
}

/** Grid Engine counts tasks from 1. */
export function taskNumber(index: number): number {
  return index + 1;
}

/** As orders name it: `123`, or `123.4` for a task. */
export function operandOf(job: ScheduledJob): string {
  return job.task === undefined ? job.id : `${job.id}.${taskNumber(job.task)}`;
}
