import type { CallContext } from "../common/context.ts";
import { Fault } from "../common/fault.ts";
import type { AttemptPlan, Launcher, LaunchResult } from "../launchers/types.ts";

interface Waiting {
  readonly plan: AttemptPlan;
  readonly result: PromiseWithResolvers<LaunchResult>;
}

/** Gathers launches: while one call is under way the next ones wait and go together. */
export class LaunchBatch {
  readonly #launcher: Launcher;
  #waiting: Waiting[] = [];
  #running = false;

  constructor(launcher: Launcher) {
    this.#launcher = launcher;
  }

  async launch(plan: AttemptPlan, context: CallContext): Promise<LaunchResult> {
    const result = Promise.withResolvers<LaunchResult>();
    this.#waiting.push({ plan, result });
    if (!this.#running) void this.#drain(context);
    return await result.promise;
  }

  async #drain(context: CallContext): Promise<void> {
    this.#running = true;
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        const results = await this.#launcher.launch(
          batch.map((one) => one.plan),
          context,
        );
        for (const [index, one] of batch.entries()) {
          one.result.resolve(results[index] ?? { state: "unknown", why: "the launcher gave no result" });
        }
      } catch (error) {
        // Nothing could be asked; whether something started is not known.
        const why = error instanceof Fault ? error.message : String(error);
        for (const one of batch) one.result.resolve({ state: "unknown", why });
      }
    }
    this.#running = false;
  }
}
