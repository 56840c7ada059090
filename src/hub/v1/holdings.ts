/** What a site says it holds against what the hub gave it. */
import type { SyncAnswer } from "../../wire/agent-api.ts";
import { idsPerQuery } from "../jobs/rows.ts";
import type { JobRow } from "../store/tables.ts";
import type { Queries } from "../store/types.ts";
import type { SyncBody } from "./session.ts";

const columns = ["id", "epoch", "bound", "site_id", "lease_expires_at"] as const;
export type HeldRow = Pick<JobRow, (typeof columns)[number]>;

export interface Holdings {
  /** Jobs of the site that have not ended and were handed out here (claims of the NMDC dialect have no epoch), oldest first. */
  readonly own: readonly HeldRow[];
  /** What it lists and does not hold. */
  readonly fenced: SyncAnswer["fenced"];
  /** What it lists and the hub has never heard of. */
  readonly unknown: SyncAnswer["unknown"];
}

/** One query for a site whose list is right; those that it lists and the first answer lacks are looked up by their ids. */
export async function holdings(db: Queries, siteId: string, held: SyncBody["held"]): Promise<Holdings> {
  const own = await db
    .selectFrom("jobs")
    .select(columns)
    .where("site_id", "=", siteId)
    .where("ended_at", "is", null)
    .where("epoch", ">", 0)
    .orderBy("n")
    .execute();
  const known = new Map<string, HeldRow>(own.map((row) => [row.id, row]));
  const others = [...new Set(held.map((entry) => entry.job))].filter((id) => !known.has(id));
  for (let start = 0; start < others.length; start += idsPerQuery) {
    const slice = others.slice(start, start + idsPerQuery);
    const rows = await db.selectFrom("jobs").select(columns).where("id", "in", slice).execute();
    for (const row of rows) known.set(row.id, row);
  }
  // The last entry of a job counts.
  const epochs = new Map(held.map((entry) => [entry.job, entry.epoch]));
  const fenced = [...epochs].flatMap(([job, epoch]) => {
    const row = known.get(job);
    const reason = row && fenceReason(row, epoch, siteId);
    return reason === undefined ? [] : [{ job, reason }];
  });
  const unknown = [...epochs.keys()].filter((job) => !known.has(job)).map((job) => ({ job }));
  return { own, fenced, unknown };
}

function fenceReason(row: HeldRow, epoch: number, siteId: string): string | undefined {
  if (row.site_id !== siteId)
    return row.site_id === null ? "nobody holds it any more" : `site '${row.site_id}' holds it`;
  if (row.epoch !== epoch) return `epoch ${epoch} is over; now ${row.epoch}`;
  return undefined;
}
