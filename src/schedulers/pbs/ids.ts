import type { ScheduledJob } from "../types.ts";

/** `123.server`, `123[].server`, `123[4].server`; the server may be missing, and is no number. Nothing else may reach a command line. */
const grammar = /^\d{1,15}(\[\d*\])?(\.(?=[\d._-]*[A-Za-z])[A-Za-z0-9][A-Za-z0-9._-]*(:\d+)?)?$/;

export function isPbsId(text: string): boolean {
  return grammar.test(text);
}

/** The id by which the server knows this job or this task of an array. */
export function idOf(job: ScheduledJob): string {
  return job.task === undefined ? job.id : job.id.replace("[]", `[${job.task}]`);
}

/** The first id in a line of a command's output or complaint. */
export function idIn(line: string): string | undefined {
  return /(?:^|[\s'"])(\d{1,15}(?:\[\d*\])?(?:\.[A-Za-z0-9][A-Za-z0-9._-]*(?::\d+)?)?)(?=$|[\s,:'"])/.exec(line)?.[1];
}
