import type { HubContext } from "../context.ts";
import type { Channel } from "../store/types.ts";

/** Rings when something happened on a channel, in this hub process or another. */
export interface Bell extends Disposable {
  /** True when it rang since the last wait; false when the time is over or the signal aborts. */
  wait(ms: number, signal: AbortSignal): Promise<boolean>;
}

/** Wake-ups within this time are answered by one look, milliseconds. */
const gatherMs = 10;

/**
 * Listens from now on: what happens between two waits is not missed. Only payloads that `concerns` accepts ring (and the empty
 * one: look at everything).
 */
export function listenFor(
  ctx: Pick<HubContext, "store" | "clock">,
  channels: readonly Channel[],
  concerns: (channel: Channel, payload: string) => boolean = () => true,
): Bell {
  let rang = false;
  let wake: (() => void) | undefined;
  const stops = channels.map((channel) =>
    ctx.store.listen(channel, (payload) => {
      if (payload !== "" && !concerns(channel, payload)) return;
      rang = true;
      wake?.();
    }),
  );
  return {
    async wait(ms, signal) {
      if (!rang && ms > 0) {
        const woken = new AbortController();
        wake = () => woken.abort();
        await ctx.clock.sleep(ms, AbortSignal.any([signal, woken.signal]));
        wake = undefined;
      }
      if (!rang) return false;
      await ctx.clock.sleep(gatherMs, signal);
      rang = false;
      return true;
    },
    [Symbol.dispose]() {
      for (const stop of stops) stop();
    },
  };
}
