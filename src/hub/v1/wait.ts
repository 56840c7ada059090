/** Long-poll: a synchronize that has nothing to say is held until there is something, the time is over or the hub closes. */
import type { Channel } from "../store/types.ts";
import type { HubContext } from "../context.ts";
import type { SyncAnswer } from "../../wire/agent-api.ts";
import { isoTime } from "../../common/clock.ts";
import { listenFor } from "./bell.ts";
import { assignable } from "./claims.ts";
import { holdings } from "./holdings.ts";
import { logIntervalMs } from "./log-watch.ts";
import type { SyncBody } from "./session.ts";
import { type Site, syncRound } from "./synchronize.ts";

const wakeChannels: readonly Channel[] = ["jobs", "orders"];

/** The answer, at once or held up to `hold_ms`. `signal`: the client went away or the hub closes. */
export async function holdSynchronize(
  ctx: HubContext,
  site: Site,
  body: SyncBody,
  signal: AbortSignal,
): Promise<SyncAnswer> {
  const offered = new Set(body.free.map((offer) => offer.workflow));
  using bell = listenFor(ctx, wakeChannels, (channel, payload) => {
    return channel === "jobs" ? offered.has(payload) : payload === site.siteId;
  });
  const deadline = ctx.clock.monotonic() + body.hold_ms;
  const first = await syncRound(ctx, site, body, true);
  if (first.urgent || body.hold_ms === 0) return first.answer;
  while (!signal.aborted) {
    const rang = await bell.wait(deadline - ctx.clock.monotonic(), signal);
    if (!rang) break;
    // Somebody has begun to read a log: the agent should hear it now.
    const wanted = await logIntervalMs(ctx.store.db, site.siteId, ctx.clock.now());
    if (wanted < first.answer.log_interval_ms) break;
    if (!(await hasNews(ctx, site, body))) continue;
    const round = await syncRound(ctx, site, body, false);
    if (round.urgent) return round.answer;
  }
  if (signal.aborted) return { ...first.answer, server_time: isoTime(ctx.clock.now()) };
  return (await syncRound(ctx, site, body, false)).answer;
}

/** A cheap look, without locks and writes: is a full round worth it? */
async function hasNews(ctx: HubContext, site: Site, body: SyncBody): Promise<boolean> {
  const { db } = ctx.store;
  const order = await db
    .selectFrom("orders")
    .select("id")
    .where("site_id", "=", site.siteId)
    .where("acknowledged_at", "is", null)
    .limit(1)
    .executeTakeFirst();
  if (order) return true;
  const session = await db.selectFrom("sites").select("instance_id").where("id", "=", site.siteId).executeTakeFirst();
  if (session?.instance_id !== body.instance_id) return true;
  if ((await holdings(db, site.siteId, body.held)).fenced.length > 0) return true;
  const workflows = body.free.map((offer) => offer.workflow);
  if (workflows.length === 0 || body.max_assign === 0) return false;
  const job = await db
    .selectFrom("jobs")
    .select("id")
    .where("workflow_id", "in", workflows)
    .where(assignable(site.siteId))
    .limit(1)
    .executeTakeFirst();
  return job !== undefined;
}
