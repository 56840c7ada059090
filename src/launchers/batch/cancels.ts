import type { CallContext } from "../../common/context.ts";
import type { OrderResult, ScheduledJob } from "../../schedulers/types.ts";

/** Those that come so shortly after each other go together, milliseconds: a person cancels many jobs at once. */
const gatherMs = 25;
/** Between the begins of two commands, milliseconds; less where jobs are asked for more often. */
const apartMs = 1_000;

interface Waiting {
  readonly jobs: readonly ScheduledJob[];
  readonly result: PromiseWithResolvers<readonly OrderResult[]>;
}

/** Gathers cancels: one command for all of an interval, with each caller's results for its own jobs. */
export class Cancels implements AsyncDisposable {
  readonly #run: (jobs: readonly ScheduledJob[], context: CallContext) => Promise<readonly OrderResult[]>;
  readonly #apartMs: number;
  #waiting: Waiting[] = [];
  #running: Promise<void> | undefined;
  #lastAt = Number.NEGATIVE_INFINITY;

  /** `pollMs`: how often jobs are asked for. */
  constructor(
    run: (jobs: readonly ScheduledJob[], context: CallContext) => Promise<readonly OrderResult[]>,
    pollMs: number,
  ) {
    this.#run = run;
    this.#apartMs = Math.min(apartMs, pollMs);
  }

  /** @throws what the command's host throws. */
  async cancel(jobs: readonly ScheduledJob[], context: CallContext): Promise<readonly OrderResult[]> {
    const result = Promise.withResolvers<readonly OrderResult[]>();
    this.#waiting.push({ jobs, result });
    this.#running ??= this.#cancelAll(context);
    return await result.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running;
  }

  async #cancelAll(context: CallContext): Promise<void> {
    while (this.#waiting.length > 0) {
      const waitMs = this.#lastAt + this.#apartMs - context.clock.monotonic();
      await context.clock.sleep(Math.max(gatherMs, waitMs), context.signal);
      this.#lastAt = context.clock.monotonic();
      const together = this.#waiting;
      this.#waiting = [];
      try {
        const results = await this.#run(
          together.flatMap(({ jobs }) => jobs),
          context,
        );
        let from = 0;
        for (const { jobs, result } of together) {
          result.resolve(results.slice(from, from + jobs.length));
          from += jobs.length;
        }
      } catch (error) {
        for (const { result } of together) result.reject(error);
      }
    }
    this.#running = undefined;
  }
}
