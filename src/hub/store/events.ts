/** The hub's event stream: appended in the transaction of the change it tells of, read by sequence number. */
import { sql } from "kysely";
import type { JsonObject } from "../../common/json.ts";
import type { EventRow } from "./tables.ts";
import type { Queries, StoreKind, Tx, Write } from "./types.ts";

export interface NewEvent {
  readonly type: string;
  readonly at: number;
  readonly jobId?: string | null;
  readonly workflowId?: string | null;
  readonly siteId?: string | null;
  readonly owner?: string | null;
  /** Who caused it: `user:…`, `client:…`, `hub`. */
  readonly actor?: string | null;
  readonly data?: JsonObject;
}

/** Any number that no other use of this database takes. */
export const eventLock = 7_201_934_116;

/**
 * Keeps all other writers of events waiting until this transaction ends; for those who must look at the tables before they write, as
 * the triggers do. SQLite has one writer anyway.
 */
export async function lockEvents(tx: Tx, kind: StoreKind): Promise<void> {
  if (kind === "postgres") await sql`SELECT pg_advisory_xact_lock(${eventLock})`.execute(tx.db);
}

/**
 * Appends events and wakes readers. On PostgreSQL a transaction lock, taken by `Tx.insert`, makes numbers appear in commit order:
 * nobody who saw number N ever has to look below N again. Call it late in the transaction; it serialises writers until the commit.
 */
export async function appendEvents(tx: Tx, events: readonly NewEvent[]): Promise<void> {
  await writeWithEvents(tx, [], events);
}

/** As `appendEvents`, together with what they tell of. */
export async function writeWithEvents(tx: Tx, writes: readonly Write[], events: readonly NewEvent[]): Promise<void> {
  const rows = events.map((event) => ({
    at: event.at,
    type: event.type,
    job_id: event.jobId ?? null,
    workflow_id: event.workflowId ?? null,
    site_id: event.siteId ?? null,
    owner: event.owner ?? null,
    actor: event.actor ?? null,
    data: JSON.stringify(event.data ?? {}),
  }));
  await tx.write([...writes, { insert: "events", rows }]);
  if (rows.length > 0) tx.notify("events", "");
}

/** Events after number `after`, oldest first, at most `limit`. */
export async function readEvents(db: Queries, after: number, limit: number): Promise<EventRow[]> {
  return db.selectFrom("events").selectAll().where("seq", ">", after).orderBy("seq").limit(limit).execute();
}
