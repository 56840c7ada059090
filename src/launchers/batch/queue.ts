import PQueue from "p-queue";
import type { CallContext } from "../../common/context.ts";
import { failpoint } from "../../common/failpoint.ts";
import { asFault } from "../../common/fault.ts";
import type {
  FindResult,
  OrderResult,
  ScheduledJob,
  ScheduledStatus,
  Scheduler,
  SubmitRequest,
  SubmitResult,
} from "../../schedulers/types.ts";
import { Cancels } from "./cancels.ts";
import { SubmitRate } from "./submit-rate.ts";

export interface QueueOptions {
  readonly scheduler: Scheduler;
  /** Shortest time between two regular queries, milliseconds: the site's floor. */
  readonly pollMs: number;
  /** Queries out of turn in that time, for exit records that wait for the scheduler's word; one tells of all of them. Default 10. */
  readonly confirmations?: number;
  /** Most jobs and arrays that are submitted in a minute; default: no limit. */
  readonly submitsPerMinute?: number | undefined;
}

/** While nothing changes the pause between two regular queries grows up to this many times the floor. */
const calmest = 4;
/** While the scheduler is in trouble, or slow, up to this many times. */
const mostPatient = 10;
/** An answer that takes longer is slow. Then at most one part in so many of the time goes into queries, and none is made out of turn. */
const slowMs = 1_000;
const slowShare = 20;
/** Between an exit record and the query that it brings forward: schedulers take a moment to see the end. Each further one waits twice as long. */
const settleMs = 700;
const mostDoublings = 3;
/** Commands at the same time on one host: a good neighbour on a login node (the reference for schedulers, "Rates, limits"). */
const mostCommands = 2;
/** A job that nobody asked for any more is asked for no more. */
const forgottenMs = 10 * 60_000;

interface Tracked {
  readonly job: ScheduledJob;
  status: ScheduledStatus | undefined;
  /** Monotonic time of the last answer that was one, and of the last interest in it. */
  wantedAt: number;
}

/**
 * What all launchers of one (host, scheduler) share: one query for all their jobs and interval (invariant 9), no more than
 * two commands at once, the same pause for all. Nothing is asked while nobody asks; nothing runs by itself.
 */
export class SchedulerQueue implements AsyncDisposable {
  readonly #scheduler: Scheduler;
  readonly #pollMs: number;
  readonly #confirmations: number;
  readonly #tracked = new Map<string, Tracked>();
  readonly #watching = new Set<(job: ScheduledJob) => void>();
  readonly #cancels: Cancels;
  readonly #submitRate: SubmitRate | undefined;
  readonly #commands = new PQueue({ concurrency: mostCommands });
  #query: Promise<void> | undefined;
  #askedAt = Number.NEGATIVE_INFINITY;
  #pauseMs: number;
  /** No query sooner than this after the last one, for a scheduler that answers slowly; 0 = it is quick. */
  #slowPauseMs = 0;
  /** Queries out of turn that are left; they come back with time. */
  #extra: number;
  #extraAt: number | undefined;
  /** Those since the last news. */
  #inVain = 0;
  #urgentSince: number | undefined;
  #trouble: string | undefined;
  /** Something was added since the last query began. */
  #isNew = false;

  constructor(options: QueueOptions) {
    this.#scheduler = options.scheduler;
    this.#pollMs = options.pollMs;
    this.#pauseMs = options.pollMs;
    this.#confirmations = options.confirmations ?? 10;
    this.#extra = this.#confirmations;
    const { submitsPerMinute } = options;
    this.#submitRate = submitsPerMinute === undefined ? undefined : new SubmitRate(submitsPerMinute);
    this.#cancels = new Cancels((jobs, context) => this.#cancel(jobs, context), options.pollMs);
  }

  get scheduler(): Scheduler {
    return this.#scheduler;
  }

  /** Why the last query brought no answer at all; undefined = it did, or there was none. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** What is beyond the site's rate is limited: nothing of it was submitted. */
  async submit(requests: readonly SubmitRequest[], context: CallContext): Promise<readonly SubmitResult[]> {
    const rate = this.#submitRate;
    const allowed = rate?.take(requests.length, context.clock.monotonic()) ?? requests.length;
    const now = requests.slice(0, allowed);
    const results = now.length === 0 ? [] : await this.#commands.add(() => this.#scheduler.submit(now, context));
    const reason = `the site submits no more than ${rate?.perMinute} jobs in a minute (submit_rate)`;
    return [...results, ...requests.slice(allowed).map(() => ({ state: "limited", reason }) as const)];
  }

  find(wanted: Parameters<Scheduler["find"]>[0], context: CallContext): Promise<readonly FindResult[]> {
    return this.#commands.add(() => this.#scheduler.find(wanted, context));
  }

  /** Many that come at about the same time are one command. */
  cancel(jobs: readonly ScheduledJob[], context: CallContext): Promise<readonly OrderResult[]> {
    return this.#cancels.cancel(jobs, context);
  }

  async #cancel(jobs: readonly ScheduledJob[], context: CallContext): Promise<readonly OrderResult[]> {
    const results = await this.#commands.add(() => this.#scheduler.cancel(jobs, context));
    this.#soonAgain();
    for (const job of jobs) if (this.#tracked.has(keyOf(job))) this.hurry(context);
    return results;
  }

  /**
   * The latest answer about each job; undefined = not asked yet. Asks the scheduler when it is time to, for all jobs of all callers, and
   * waits for that only while there is a job without any answer.
   */
  async statuses(
    jobs: readonly ScheduledJob[],
    context: CallContext,
  ): Promise<readonly (ScheduledStatus | undefined)[]> {
    const now = context.clock.monotonic();
    const tracked = jobs.map((job) => this.#track(job, now));
    if (!this.#query && this.#isDue(now)) this.#query = this.#ask(context).finally(() => (this.#query = undefined));
    if (this.#query && tracked.some((one) => one.status === undefined)) await this.#query;
    return tracked.map((one) => one.status);
  }

  /** Calls back with a job when a query brought another state of it than was known. */
  watch(onNews: (job: ScheduledJob) => void): Disposable {
    this.#watching.add(onNews);
    return { [Symbol.dispose]: () => void this.#watching.delete(onNews) };
  }

  /** An exit record waits for the scheduler's word: the next query comes sooner, as far as such queries are left. */
  hurry(context: CallContext): void {
    this.#urgentSince ??= context.clock.monotonic();
  }

  /** It has ended and its end is known: it is asked for no more. */
  forget(job: ScheduledJob): void {
    this.#tracked.delete(keyOf(job));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cancels[Symbol.asyncDispose]();
    await Promise.allSettled([this.#commands.onIdle(), this.#query]);
    await this.#scheduler[Symbol.asyncDispose]();
  }

  #track(job: ScheduledJob, now: number): Tracked {
    const key = keyOf(job);
    let tracked = this.#tracked.get(key);
    if (!tracked) {
      tracked = { job, status: undefined, wantedAt: now };
      this.#tracked.set(key, tracked);
      this.#isNew = true;
      this.#soonAgain();
    }
    tracked.wantedAt = now;
    return tracked;
  }

  /** Something is new. A scheduler that cannot be asked is not asked sooner for it. */
  #soonAgain(): void {
    if (this.#trouble === undefined) this.#pauseMs = this.#pollMs;
  }

  #pauseAfter(tookMs: number): number {
    return tookMs < slowMs ? 0 : Math.min(tookMs * slowShare, this.#pollMs * mostPatient);
  }

  #isDue(now: number): boolean {
    if (now - this.#askedAt >= Math.max(this.#pauseMs, this.#slowPauseMs)) return true;
    if (this.#urgentSince === undefined || this.#trouble !== undefined || this.#slowPauseMs > 0) return false;
    const waitMs = settleMs * 2 ** Math.min(this.#inVain, mostDoublings);
    if (now - Math.max(this.#urgentSince, this.#askedAt) < waitMs) return false;
    const back = ((now - (this.#extraAt ?? now)) / this.#pollMs) * this.#confirmations;
    this.#extra = Math.min(this.#confirmations, this.#extra + back);
    this.#extraAt = now;
    if (this.#extra < 1) return false;
    this.#extra--;
    this.#inVain++;
    return true;
  }

  async #ask(context: CallContext): Promise<void> {
    const now = context.clock.monotonic();
    this.#askedAt = now;
    this.#isNew = false;
    this.#urgentSince = undefined;
    for (const [key, one] of this.#tracked) if (now - one.wantedAt > forgottenMs) this.#tracked.delete(key);
    const asked = [...this.#tracked.values()];
    let changed = false;
    const told: ScheduledJob[] = [];
    try {
      await failpoint("batch.before-statuses");
      const answers = await this.#commands.add(async () => {
        const began = context.clock.monotonic();
        const jobs = asked.map(({ job }) => job);
        try {
          return await this.#scheduler.statuses(jobs, context);
        } finally {
          this.#slowPauseMs = this.#pauseAfter(context.clock.monotonic() - began);
        }
      });
      await failpoint("batch.after-statuses");
      for (const [index, one] of asked.entries()) {
        const status = answers[index] ?? { state: "unknown", why: "the scheduler's adapter gave no answer" };
        const before = one.status?.state;
        changed ||= status.state !== before;
        // Who asks for a job without an answer waits for it.
        if (before !== undefined && status.state !== before) told.push(one.job);
        one.status = status;
      }
      this.#trouble = troubleOf(answers);
    } catch (error) {
      const why = asFault(error).message;
      this.#trouble = why;
      for (const one of asked) one.status = { state: "unknown", why };
    }
    for (const onNews of this.#watching) for (const job of told) onNews(job);
    if (this.#trouble !== undefined) {
      this.#pauseMs = Math.min(this.#pauseMs * 2, this.#pollMs * mostPatient);
      return;
    }
    if (changed) this.#inVain = 0;
    this.#pauseMs = changed || this.#isNew ? this.#pollMs : Math.min(this.#pauseMs * 1.5, this.#pollMs * calmest);
  }
}

/** Why nobody answered; undefined as soon as there is an answer about one job. */
function troubleOf(answers: readonly ScheduledStatus[]): string | undefined {
  const [first] = answers;
  return first?.state === "unknown" && answers.every(({ state }) => state === "unknown") ? first.why : undefined;
}

/** The same for jobs that are the same at the scheduler. */
export function keyOf(job: ScheduledJob): string {
  return `${job.cluster ?? ""}/${job.id}/${job.task ?? ""}/${job.token}`;
}
