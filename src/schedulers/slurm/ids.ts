import type { ScheduledJob } from "../types.ts";

/** A job or the parent of an array. Steps (`1.0`), components (`1+0`) and hashes are none of ours. */
const jobId = /^[1-9]\d{0,9}$/;
const taskId = /^([1-9]\d{0,9})(?:_(?:(\d{1,9})|\[([^\]]*)\]))?$/;

/** Whether it may stand as an operand of `scancel` or `scontrol`. */
export function isJobId(text: string): boolean {
  return jobId.test(text);
}

/** How commands name the job or the task of an array. */
export function operandOf(job: Pick<ScheduledJob, "id" | "task">): string {
  return job.task === undefined ? job.id : `${job.id}_${job.task}`;
}

export interface ListedId {
  readonly id: string;
  /** undefined: a plain job, or an array that is listed as one. */
  readonly task: number | undefined;
  /** Tasks that never began and are listed in one row: `0-2,5` of `123_[0-2,5%4]`. */
  readonly tasks: string | undefined;
}

/** An id as queue and accounting print it; undefined = none of a whole job. */
export function parseListedId(text: string): ListedId | undefined {
  const [, id, task, tasks] = taskId.exec(text) ?? [];
  return id === undefined ? undefined : { id, task: task === undefined ? undefined : Number(task), tasks };
}

/** Is the task one of `0-2,5-9:2,12%4`? A list that Slurm cut (`...`) has only what is to be read of it. */
export function listsTask(tasks: string, task: number): boolean {
  return tasks
    .replace(/%.*$/s, "")
    .split(",")
    .some((part) => {
      const [, from, to = from, step = "1"] = /^(\d+)(?:-(\d+)(?::(\d+))?)?$/.exec(part) ?? [];
      if (from === undefined) return false;
      return task >= Number(from) && task <= Number(to) && (task - Number(from)) % Number(step) === 0;
    });
}
