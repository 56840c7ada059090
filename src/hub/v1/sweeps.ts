/** Background work of the hub's own API. Every hub process does it; each piece is safe to be done by several at once. */
import { isFault } from "../../common/fault.ts";
import type { HubContext } from "../context.ts";
import { releaseExpired } from "./claims.ts";

/** Unconfirmed claims are also released at every synchronize; this is for a hub that nobody asks. */
const leasePeriodMs = 10_000;
const housekeepingPeriodMs = 3_600_000;
/** How long an idempotency key is remembered. */
const keysKeptMs = 7 * 86_400_000;

/** Runs until the signal aborts; a failed round is logged and tried again at the next. */
export async function runSweeps(ctx: HubContext, signal: AbortSignal): Promise<void> {
  await Promise.all([
    every(ctx, signal, leasePeriodMs, "releasing claims that ran out", async () => void (await releaseExpired(ctx))),
    every(ctx, signal, housekeepingPeriodMs, "forgetting old idempotency keys", () => forgetKeys(ctx)),
  ]);
}

/** One piece of work, at once and then periodically. */
export async function every(
  ctx: HubContext,
  signal: AbortSignal,
  periodMs: number,
  what: string,
  work: () => Promise<void>,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await work();
    } catch (error) {
      if (!signal.aborted) logFailure(ctx, error, what);
    }
    await ctx.clock.sleep(periodMs, signal);
  }
}

function logFailure(ctx: HubContext, err: unknown, what: string): void {
  if (isFault(err, "STORE")) ctx.log.warn({ err, what }, "background work waits for the database");
  else ctx.log.error({ err, what }, "background work failed; it is tried again");
}

async function forgetKeys(ctx: HubContext): Promise<void> {
  const before = ctx.clock.now() - keysKeptMs;
  await ctx.store.db.deleteFrom("idempotency_keys").where("created_at", "<", before).execute();
}
