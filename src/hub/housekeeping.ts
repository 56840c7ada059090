/**
 * Removes what nobody can use any more. Every hub process does it; doing it twice harms nothing. Operations past their
 * `expire_time` stay: the NMDC Runtime removes them only where its operators have switched that on, and there is no setting for it here.
 */
import type { HubContext } from "./context.ts";

const everyMs = 3_600_000;
/** A listing that pauses longer starts over. */
const pageTokensKeptMs = 86_400_000;

/** Runs until `signal` aborts; the first pass comes after one period. */
export async function keepHouse(ctx: Pick<HubContext, "store" | "clock" | "log">, signal: AbortSignal): Promise<void> {
  for (;;) {
    await ctx.clock.sleep(everyMs, signal);
    if (signal.aborted) return;
    try {
      await sweepOnce(ctx);
    } catch (err) {
      ctx.log.warn({ err }, "housekeeping failed; it is tried again later");
    }
  }
}

export async function sweepOnce(ctx: Pick<HubContext, "store" | "clock">): Promise<void> {
  const oldest = ctx.clock.now() - pageTokensKeptMs;
  await ctx.store.db.deleteFrom("page_tokens").where("created_at", "<", oldest).execute();
}
