import type { ScheduledJob } from "../types.ts";
import type { AccountingRecord } from "./qacct.ts";

/** A job, or a task of an array: numbers are used again, tokens are not. */
export type JobKey = Pick<ScheduledJob, "id" | "token" | "task">;

interface Remembered {
  /** It was in the queue, or the submission was accepted. */
  known: boolean;
  /** Somebody deleted it: while it waited (no record of it will ever come), or while it ran. */
  deleted?: "waiting" | "running";
  /** Monotonic: since when it is not in the queue. */
  missingSince?: number;
  /** Monotonic: when the accounting was asked for it by its name. */
  askedAlone?: number;
  /** What it had of it. */
  records?: readonly AccountingRecord[];
  /** Why it waits, and when that was asked (monotonic). */
  reason?: { readonly text: string | undefined; readonly at: number; readonly error: boolean };
  waitingSince?: number;
}

/** More jobs than any account has in a queue. */
const most = 100_000;

/**
 * What Grid Engine does not tell, from one question to the next: that a job was just there (its accounting record comes later), that somebody deleted
 * it (its record looks like that of any killed job), why it waits (asked seldom). Lost with the process; then less is said, never something wrong.
 */
export class JobMemory {
  readonly #jobs = new Map<string, Remembered>();

  of(job: JobKey): Remembered {
    const key = keyOf(job);
    const known = this.#jobs.get(key);
    if (known) return known;
    const remembered: Remembered = { known: false };
    this.#jobs.set(key, remembered);
    if (this.#jobs.size > most) {
      const [oldest] = this.#jobs.keys();
      if (oldest !== undefined) this.#jobs.delete(oldest);
    }
    return remembered;
  }

  /** It is in the queue. */
  see(key: JobKey, letters: string, now: number): void {
    const job = this.of(key);
    job.known = true;
    delete job.missingSince;
    delete job.askedAlone;
    delete job.records;
    if (letters.includes("d")) job.deleted ??= "running";
    if (/[qw]/.test(letters)) job.waitingSince ??= now;
    else delete job.waitingSince;
  }

  /** For how long it has been missing, milliseconds. */
  missingFor(key: JobKey, now: number): number {
    const job = this.of(key);
    job.missingSince ??= now;
    return now - job.missingSince;
  }

  deleted(key: JobKey, meanwhile: "waiting" | "running"): void {
    this.of(key).deleted ??= meanwhile;
  }

  /** A task is deleted with its array. */
  deletion(job: JobKey): "waiting" | "running" | undefined {
    return this.of(job).deleted ?? this.#jobs.get(keyOf({ ...job, task: undefined }))?.deleted;
  }
}

function keyOf({ id, token, task }: JobKey): string {
  return `${id}/${token}/${task ?? ""}`;
}
