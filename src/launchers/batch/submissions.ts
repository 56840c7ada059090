import type { CallContext } from "../../common/context.ts";
import { failpoint } from "../../common/failpoint.ts";
import type { Token } from "../../common/token.ts";
import type { FindResult, ScheduledJob } from "../../schedulers/types.ts";
import type { Submission } from "./places.ts";
import type { SchedulerQueue } from "./queue.ts";

export type FoundSubmission =
  | { readonly state: "found"; readonly job: ScheduledJob }
  /** Proven: queue and history were asked twice, long enough after the submission. */
  | { readonly state: "absent" }
  /** `againMs`: a look so much later may prove that it never was. */
  | { readonly state: "unknown"; readonly why: string; readonly againMs?: number };

/** Between the two looks that prove an absence; milliseconds. */
export const apartMs = 3_000;
/** The scheduler's clock may be behind ours. */
const clockMarginMs = 5 * 60_000;

/**
 * Looks for what an unclear submission came to: it may have been accepted although nobody said so, even a while later. Found: adopted, the
 * oldest where there are several, and the others cancelled. Not found twice, and the submission is `settleMs` old: it never was.
 */
export class Submissions {
  readonly #queue: SchedulerQueue;
  readonly #settleMs: number;
  /** Of a submission (by token and time): when a look, by our monotonic clock, first did not find it. */
  readonly #missed = new Map<Token, { readonly at: string; readonly since: number }>();
  /** Those to be asked for by the next command. */
  readonly #wanted = new Map<
    Token,
    { readonly since: string; readonly result: PromiseWithResolvers<FindResult | undefined> }
  >();
  #isLooking = false;

  constructor(queue: SchedulerQueue, settleMs: number) {
    this.#queue = queue;
    this.#settleMs = settleMs;
  }

  async find(submission: Submission, context: CallContext): Promise<FoundSubmission> {
    const { token, task, at } = submission;
    const since = new Date(Date.parse(at) - clockMarginMs).toISOString();
    const found = await this.#look(token, since, context);
    if (found?.state === "found") {
      this.#missed.delete(token);
      return { state: "found", job: { ...found.jobs[0], submittedAt: at, ...(task === undefined ? {} : { task }) } };
    }
    if (found?.state !== "absent") return { state: "unknown", why: found?.why ?? "no answer" };
    const now = context.clock.monotonic();
    const known = this.#missed.get(token);
    const missed = known?.at === at ? known : { at, since: now };
    this.#missed.set(token, missed);
    const ageMs = context.clock.now() - Date.parse(at);
    const againMs = Math.max(apartMs - (now - missed.since), this.#settleMs - ageMs);
    if (againMs > 0) {
      const why = "its submission had no clear answer, and the scheduler does not show it yet";
      return { state: "unknown", why, againMs };
    }
    return { state: "absent" };
  }

  /** Tasks of an array ask the same, and what several ask while one command is under way the next one asks for all. */
  async #look(token: Token, since: string, context: CallContext): Promise<FindResult | undefined> {
    const known = this.#wanted.get(token);
    const one = known ?? { since, result: Promise.withResolvers<FindResult | undefined>() };
    if (!known) this.#wanted.set(token, one);
    if (!this.#isLooking) void this.#lookAll(context);
    return await one.result.promise;
  }

  async #lookAll(context: CallContext): Promise<void> {
    this.#isLooking = true;
    await Promise.resolve();
    while (this.#wanted.size > 0) {
      const asked = [...this.#wanted];
      this.#wanted.clear();
      try {
        await failpoint("batch.before-find");
        const answers = await this.#queue.find(
          asked.map(([token, { since }]) => ({ token, since })),
          context,
        );
        await failpoint("batch.after-find");
        for (const [index, [token, { result }]] of asked.entries()) {
          const answer = answers[index];
          if (answer?.state === "found") await this.#cancelOthers(token, answer.jobs, context);
          result.resolve(answer);
        }
      } catch (error) {
        for (const [, { result }] of asked) result.reject(error);
      }
    }
    this.#isLooking = false;
  }

  async #cancelOthers(token: Token, jobs: readonly ScheduledJob[], context: CallContext): Promise<void> {
    const others = jobs.slice(1);
    if (others.length === 0) return;
    context.log.error({ token, jobs }, "one attempt has several scheduler jobs; all but the oldest are cancelled");
    await this.#queue.cancel(others, context);
  }

  /** What is known of it is over: it is being submitted again. */
  forget(token: Token): void {
    this.#missed.delete(token);
  }
}
