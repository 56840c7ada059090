import type { CallContext } from "../common/context.ts";
import { isFault } from "../common/fault.ts";

/** One call for all who need its answer at the same time. Nothing is kept once it has ended. */
export class SharedCall<Value> {
  #asking: Promise<Value> | undefined;

  /** Waits for the call under way, or makes it. Rejects like `ask`, but with the cancellation of another caller only when it is ours too. */
  async value(context: CallContext, ask: (context: CallContext) => Promise<Value>): Promise<Value> {
    while (this.#asking) {
      try {
        return await this.#asking;
      } catch (error) {
        // The asker was told to stop; we were not.
        if (!isFault(error, "CANCELLED") || context.signal.aborted) throw error;
      }
    }
    this.#asking = ask(context).finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }
}
