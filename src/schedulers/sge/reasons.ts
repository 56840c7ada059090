import type { CallContext } from "../../common/context.ts";
import type { Token } from "../../common/token.ts";
import type { SchedulerCommand } from "../command.ts";
import type { JobKey, JobMemory } from "./memory.ts";
import { qstatJob } from "./qstat-job.ts";
import type { QueueEntry } from "./qstat.ts";

/** A job that waits for a moment only needs no reason. */
const patienceMs = 60_000;
/** The question is costly for the master: few jobs, and each seldom. */
const againMs = 600_000;
const jobsAtOnce = 50;

type Run = <Answer>(command: SchedulerCommand<Answer>, context: CallContext) => Promise<Answer>;

/** Why jobs are in the error state (asked at once) or wait for long; the queue's list does not say. */
export class Reasons {
  readonly #run: Run;
  readonly #memory: JobMemory;

  constructor(run: Run, memory: JobMemory) {
    this.#run = run;
    this.#memory = memory;
  }

  /** True when something is to be asked. */
  isDue(entries: readonly QueueEntry[], now: number): boolean {
    // All of them: since when each of them waits is noted on the way.
    return entries.filter((entry) => this.#isDue(entry, now)).length > 0;
  }

  /** At most one question for all of them. */
  async ask(entries: readonly QueueEntry[], context: CallContext): Promise<void> {
    const now = context.clock.monotonic();
    const due = entries.filter((entry) => this.#isDue(entry, now));
    const ids = [...new Set(due.map(({ id }) => id))].slice(0, jobsAtOnce);
    if (ids.length === 0) return;
    const answer = await this.#run(qstatJob(ids), context);
    for (const entry of due) {
      if (!ids.includes(entry.id)) continue;
      const error = entry.letters.includes("E");
      this.#memory.of(keyOf(entry)).reason = { text: answer.get(entry.id), at: now, error };
    }
  }

  of(entry: QueueEntry): string | undefined {
    const { reason } = this.#memory.of(keyOf(entry));
    return isWaiting(entry) && !isHeld(entry) ? reason?.text : undefined;
  }

  #isDue(entry: QueueEntry, now: number): boolean {
    if (!isWaiting(entry) || isHeld(entry)) return false;
    const job = this.#memory.of(keyOf(entry));
    job.waitingSince ??= now;
    if (entry.letters.includes("E") && !job.reason?.error) return true;
    const asked = job.reason?.at;
    return asked === undefined ? now - job.waitingSince >= patienceMs : now - asked >= againMs;
  }
}

/** Only entries that are jobs of ours come here: their names are their tokens. An array has one reason for all of its tasks. */
function keyOf({ id, name }: QueueEntry): JobKey {
  return { id, token: name as Token };
}

function isWaiting({ letters }: QueueEntry): boolean {
  return /[qwE]/.test(letters) && !letters.includes("d");
}

/** Its letters say it already. */
function isHeld({ letters }: QueueEntry): boolean {
  return letters.includes("h") && !letters.includes("E");
}
