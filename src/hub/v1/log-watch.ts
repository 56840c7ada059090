/** Who watches a log makes the site that writes it send faster. Noted in the store: the reader may sit at another hub. */
import type { Queries, Store } from "../store/types.ts";

const watchedMs = 1_000;
const unwatchedMs = 5_000;
/** A reader counts for this long after its last request. */
const lastsMs = 30_000;
const noteEveryMs = 10_000;

/** When this process last noted a site; only spares writes. */
const noted = new WeakMap<Store, Map<string, number>>();

/** Notes that somebody reads a log of this site; its held call is woken by the first. At most one write per site and ten seconds. */
export async function noteLogReader(store: Store, siteId: string, now: number): Promise<void> {
  const times = noted.get(store) ?? new Map<string, number>();
  noted.set(store, times);
  const last = times.get(siteId);
  if (last !== undefined && now - last < noteEveryMs) return;
  times.set(siteId, now);
  const value = String(now);
  await store.db
    .insertInto("settings")
    .values({ name: logReaderSetting(siteId), value })
    .onConflict((conflict) => conflict.column("name").doUpdateSet({ value }))
    .execute();
  if (last === undefined || now - last >= lastsMs) await store.notify("orders", siteId);
}

/** Milliseconds between two log chunks that a site should keep. */
export async function logIntervalMs(db: Queries, siteId: string, now: number): Promise<number> {
  const row = await db
    .selectFrom("settings")
    .select("value")
    .where("name", "=", logReaderSetting(siteId))
    .executeTakeFirst();
  return intervalSince(row?.value, now);
}

/** The same for who has the setting already, if there is one. */
export function intervalSince(lastRead: string | null | undefined, now: number): number {
  return Number(lastRead ?? 0) > now - lastsMs ? watchedMs : unwatchedMs;
}

/** Name of the setting that holds when somebody last read a log of the site. */
export function logReaderSetting(siteId: string): string {
  return `log-reader:${siteId}`;
}
