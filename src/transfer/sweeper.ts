import type { CallContext } from "../common/context.ts";
import { asFault, isFault } from "../common/fault.ts";
import type { Token } from "../common/token.ts";
import type { Leftovers } from "./leftovers.ts";
import { hostOf } from "./plan.ts";
import type { TransferRegistry } from "./registry.ts";
import type { Leftover } from "./types.ts";

/** One place at a remote. */
const longestMs = 20_000;
/** A connection that was lost with the transfer is made anew after a moment. */
const longestWaitMs = 5_000;
/** A remote that did not answer, or not in time, is left alone for so long, then for twice the time and so on. */
const firstPauseMs = 60_000;
const longestPauseMs = 3_600_000;
/** A remote that has not answered for so long is not asked any more. */
const giveUpMs = 7 * 24 * 3_600_000;

/** Removes what jobs that are over have left at their destinations. */
export class Sweeper {
  readonly #leftovers: Leftovers;
  readonly #registry: TransferRegistry;
  /** Hosts that are left alone, and until when. */
  readonly #later = new Map<string, { readonly until: number; readonly pauseMs: number }>();
  /** Jobs whose leftovers are being removed now. */
  readonly #busy = new Set<Token>();

  constructor(leftovers: Leftovers, registry: TransferRegistry) {
    this.#leftovers = leftovers;
    this.#registry = registry;
  }

  /** What a remote does not let us remove now is tried by a later call. @throws Fault of the file system here */
  async sweep(context: CallContext): Promise<void> {
    for (const { token, over, left } of await this.#leftovers.givenUp()) {
      if (context.signal.aborted) return;
      if (this.#busy.has(token)) continue;
      this.#busy.add(token);
      try {
        let kept = false;
        for (const leftover of left) if (!(await this.#remove(leftover, token, context))) kept = true;
        if (!kept) await this.#leftovers.drop(token);
        else if (context.clock.now() - over > giveUpMs) {
          context.log.warn({ token, places: left.map(({ url }) => url) }, "partial files of a job that is over stay");
          await this.#leftovers.drop(token);
        }
      } finally {
        this.#busy.delete(token);
      }
    }
  }

  async #ask(leftover: Leftover, token: Token, context: CallContext): Promise<void> {
    const adapter = this.#registry.forUrl(leftover.url);
    try {
      await adapter.sweep?.(leftover, token, context);
    } catch (error) {
      const waitMs = isFault(error) ? error.details?.["retry_after_ms"] : undefined;
      if (typeof waitMs !== "number" || waitMs > longestWaitMs) throw error;
      await context.clock.sleep(waitMs, context.signal);
      await adapter.sweep?.(leftover, token, context);
    }
  }

  /** False: it may lie there still. */
  async #remove(leftover: Leftover, token: Token, context: CallContext): Promise<boolean> {
    const host = hostOf(leftover.url);
    const later = this.#later.get(host);
    if (later && later.until > context.clock.monotonic()) return false;
    const signal = AbortSignal.any([context.signal, AbortSignal.timeout(longestMs)]);
    try {
      await this.#ask(leftover, token, { ...context, signal });
      this.#later.delete(host);
      return true;
    } catch (error) {
      if (context.signal.aborted) return false;
      const fault = asFault(error);
      context.log.warn({ err: fault, url: leftover.url }, "partial files of a job that is over could not be removed");
      // Refused for ever: by the policy, or by the account's rights.
      if (fault.row.retry === "never" && !isFault(fault, "CANCELLED")) return true;
      const pauseMs = later ? Math.min(2 * later.pauseMs, longestPauseMs) : firstPauseMs;
      this.#later.set(host, { until: context.clock.monotonic() + pauseMs, pauseMs });
      return false;
    }
  }
}
