/** The sites and how they are. */
import { isoTime } from "../../common/clock.ts";
import { siteListSchema, type SiteView } from "../../wire/user-api.ts";
import type { HubContext } from "../context.ts";
import type { V1App } from "./http.ts";
import { parseInfo } from "./session.ts";
import { lostContactMs } from "./view.ts";

export function siteRoutes(app: V1App, ctx: HubContext): void {
  app.get(
    "/sites",
    { config: { access: "viewer" }, schema: { tags: ["sites"], response: { 200: siteListSchema } } },
    async () => ({ sites: await readSites(ctx) }),
  );
}

async function readSites(ctx: HubContext): Promise<SiteView[]> {
  const now = ctx.clock.now();
  const sites = await ctx.store.db.selectFrom("sites").selectAll().orderBy("id").execute();
  const held = await ctx.store.db
    .selectFrom("jobs")
    .select((select) => ["site_id", select.fn.countAll<number>().as("count")])
    .where("site_id", "is not", null)
    .where("ended_at", "is", null)
    .groupBy("site_id")
    .execute();
  const counts = new Map(held.map((row) => [row.site_id, Number(row.count)]));
  return sites.map((row) => {
    const info = parseInfo(row);
    return {
      id: row.id,
      last_sync_at: row.last_seen_at === null ? null : isoTime(row.last_seen_at),
      agent_version: info?.version ?? null,
      state: info?.state ?? null,
      lost_contact: row.last_seen_at !== null && row.last_seen_at < now - lostContactMs,
      held: counts.get(row.id) ?? 0,
      workflows: [...(info?.workflows ?? [])],
      health: info?.health ?? {},
      apps: [...(info?.apps ?? [])],
      free: [...(info?.free ?? [])],
    };
  });
}
