import type { FastifyReply } from "fastify";
import type { Clock } from "../../common/clock.ts";

/** How long a closing hub waits for held calls to be answered, milliseconds. */
const graceMs = 2_000;

/** Calls that are held open on purpose (long-poll, event streams): they end early when the client goes or the hub closes. */
export class HeldCalls {
  readonly #closing = new AbortController();
  readonly #open = new Set<Promise<void>>();

  /** Aborted when the hub closes. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** Aborts when this client went away or the hub closes. */
  hold(reply: FastifyReply): AbortSignal {
    const gone = new AbortController();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#open.add(promise);
    reply.raw.once("close", () => {
      gone.abort();
      this.#open.delete(promise);
      resolve();
    });
    return AbortSignal.any([gone.signal, this.closing]);
  }

  /** Ends all and waits until they are answered, for a moment; whoever is left is cut off. */
  async close(clock: Clock): Promise<void> {
    this.#closing.abort();
    const answered = new AbortController();
    void Promise.all(this.#open).then(() => answered.abort());
    await clock.sleep(graceMs, answered.signal);
  }
}
