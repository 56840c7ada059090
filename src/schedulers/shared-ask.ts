import type { CallContext } from "../common/context.ts";
import { isFault } from "../common/fault.ts";

/**
 * One question at a time, whoever asks it: callers that come while one is under way share the next one, so that each answer is younger
 * than the call that gets it, and a hundred callers cost two commands.
 */
export class SharedAsk<Answer> {
  readonly #run: (context: CallContext) => Promise<Answer>;
  #current: Promise<unknown> = Promise.resolve();
  #next: Promise<Answer> | undefined;

  constructor(run: (context: CallContext) => Promise<Answer>) {
    this.#run = run;
  }

  /** @throws what the run throws; a run that ended because another caller gave up is begun again. */
  async ask(context: CallContext): Promise<Answer> {
    for (;;) {
      try {
        return await this.#shared(context);
      } catch (error) {
        if (context.signal.aborted || !isFault(error, "CANCELLED")) throw error;
      }
    }
  }

  #shared(context: CallContext): Promise<Answer> {
    this.#next ??= this.#after(this.#current, context);
    return this.#next;
  }

  async #after(before: Promise<unknown>, context: CallContext): Promise<Answer> {
    await before.catch(() => {});
    const run = this.#run(context);
    this.#current = run;
    this.#next = undefined;
    return await run;
  }
}
