/**
 * How far files of held jobs are, as their sites say it: one setting for each site, written anew each time, so that every hub on the store
 * can tell and nothing is left of what has moved.
 */
import { z } from "zod";
import { progressAnswerSchema, progressRequestSchema } from "../../wire/agent-api.ts";
import type { TransferProgress } from "../../wire/common.ts";
import type { HubContext } from "../context.ts";
import type { JobRow } from "../store/tables.ts";
import type { Queries } from "../store/types.ts";
import { siteOf } from "./access.ts";
import type { V1App } from "./http.ts";
import { noteLogReader } from "./log-watch.ts";

/** What is older says nothing of now. */
const lastsMs = 30_000;
/** Phases of a job in which files are on their way. */
const moving: ReadonlySet<string> = new Set(["staging", "archiving"]);

const keptSchema = z.object({ at: z.number(), jobs: progressRequestSchema.shape.jobs });

export function progressRoutes(app: V1App, ctx: HubContext): void {
  app.put(
    "/progress",
    {
      config: { access: "site" },
      schema: { tags: ["agent"], body: progressRequestSchema, response: { 200: progressAnswerSchema } },
    },
    async (request) => {
      const { jobs } = request.body;
      const name = settingOf(siteOf(request).siteId);
      const value = JSON.stringify({ at: ctx.clock.now(), jobs });
      await ctx.store.db
        .insertInto("settings")
        .values({ name, value })
        .onConflict((conflict) => conflict.column("name").doUpdateSet({ value }))
        .execute();
      return { jobs: jobs.length };
    },
  );
}

/** Of those rows of which the holder has said something lately, by id. */
export async function progressOf(
  db: Queries,
  rows: readonly JobRow[],
  now: number,
): Promise<ReadonlyMap<string, TransferProgress>> {
  const wanted = new Map(rows.filter(isMoving).map((row) => [row.id, row]));
  const found = new Map<string, TransferProgress>();
  if (wanted.size === 0) return found;
  const sites = [...new Set([...wanted.values()].flatMap((row) => (row.site_id === null ? [] : [row.site_id])))];
  const names = sites.map(settingOf);
  const kept = await db.selectFrom("settings").select(["name", "value"]).where("name", "in", names).execute();
  for (const { name, value } of kept) {
    const { at, jobs } = keptSchema.parse(JSON.parse(value));
    if (at < now - lastsMs) continue;
    for (const { job, epoch, ...progress } of jobs) {
      const row = wanted.get(job);
      // Of a job that it has lost since a site says nothing that counts.
      if (row?.epoch === epoch && row.site_id !== null && settingOf(row.site_id) === name) found.set(job, progress);
    }
  }
  return found;
}

/** Somebody looks at one job: its site says more often how far it is. */
export async function noteOnlooker(ctx: HubContext, row: JobRow): Promise<void> {
  if (isMoving(row) && row.site_id !== null) await noteLogReader(ctx.store, row.site_id, ctx.clock.now());
}

function isMoving({ phase, site_id }: JobRow): boolean {
  return site_id !== null && moving.has(phase);
}

function settingOf(site: string): string {
  return `progress:${site}`;
}
