/** A site's agent process: the newest instance has the session, older ones are told so. */
import { isoTime } from "../../common/clock.ts";
import type { syncRequestSchema } from "../../wire/agent-api.ts";
import type { z } from "zod";
import type { JsonObject } from "../../common/json.ts";
import { capped } from "./http.ts";
import type { LifecycleContext } from "../jobs/lifecycle.ts";
import { logReaderSetting } from "./log-watch.ts";
import { appendEvents } from "../store/events.ts";
import type { SiteRow } from "../store/tables.ts";
import type { StoreKind, Tx } from "../store/types.ts";

export type SyncBody = z.output<typeof syncRequestSchema>;

/** What a site said last, as the sites page shows it. */
export interface SiteInfo {
  readonly version: string;
  readonly state: string;
  readonly held: number;
  readonly workflows: readonly string[];
  readonly health: SyncBody["health"];
  readonly agent_id: string;
  readonly apps?: SyncBody["apps"];
  readonly free?: SyncBody["free"];
}

export interface Session {
  readonly epoch: number;
  readonly current: boolean;
  /** This call opened it. */
  readonly opened: boolean;
  /** When somebody last read a log of the site, as the settings have it. */
  readonly logRead: string | null;
}

/** An instance that was not heard of for so long gives its session to the one that speaks; a held call lasts 55 s at most. */
const silentMs = 180_000;
const workflowsKept = 1000;
const healthBytes = 4_096;
/** Longest description of all apps that is kept, characters of JSON. */
const appsLength = 262_144;

export type SessionRow = Pick<SiteRow, "session_epoch" | "instance_id" | "last_seen_at" | "info"> & {
  readonly log_read: string | null;
};

/** The site's row, locked: two instances cannot both win. */
export async function lockSite(tx: Tx, kind: StoreKind, siteId: string): Promise<SessionRow | undefined> {
  const query = tx.db
    .selectFrom("sites")
    .select(["session_epoch", "instance_id", "last_seen_at", "info"])
    .select((eb) =>
      eb.selectFrom("settings").select("value").where("name", "=", logReaderSetting(siteId)).as("log_read"),
    )
    .where("id", "=", siteId);
  return (kind === "postgres" ? query.forUpdate() : query).executeTakeFirst();
}

/** Whose session it is. */
export function sessionOf(row: SessionRow | undefined, body: SyncBody, now: number): Session {
  if (!row) return { epoch: 1, current: false, opened: false, logRead: null };
  return { ...judge(row, body, now), logRead: row.log_read };
}

/** Notes that the site lives and what it says. */
export async function noteSession(
  ctx: LifecycleContext,
  tx: Tx,
  site: { readonly siteId: string; readonly actor: string },
  body: SyncBody,
  { row, session }: { readonly row: SessionRow | undefined; readonly session: Session },
): Promise<void> {
  if (!row || !session.current) return;
  const info = infoOf(row, body, session.opened);
  await tx.db
    .updateTable("sites")
    .set({
      session_epoch: session.epoch,
      instance_id: body.instance_id,
      last_seen_at: ctx.clock.now(),
      info: JSON.stringify(info),
    })
    .where("id", "=", site.siteId)
    .execute();
  if (session.opened) tx.notify("orders", site.siteId);
  if (session.opened || infoState(row) !== body.state) await tell(ctx, tx, site, body, session);
}

function judge(row: SessionRow, body: SyncBody, now: number): Omit<Session, "logRead"> {
  const same = row.instance_id === body.instance_id;
  if (same) return { epoch: row.session_epoch, current: true, opened: false };
  if (body.session_epoch === undefined) return { epoch: row.session_epoch + 1, current: true, opened: true };
  // A first call that was delayed on its way, of a process that has died since, must not keep out the one that lives.
  if ((row.last_seen_at ?? 0) + silentMs < now) return { epoch: row.session_epoch + 1, current: true, opened: true };
  return { epoch: body.session_epoch, current: false, opened: false };
}

function infoOf(row: SessionRow, body: SyncBody, opened: boolean): SiteInfo {
  const before = opened ? undefined : parseInfo(row);
  const told = body.apps?.map((app) => app.workflow);
  const known = told ?? before?.workflows ?? [];
  const workflows = [...new Set([...known, ...body.free.map((offer) => offer.workflow)])].toSorted();
  const { version, state, agent_id, free } = body;
  const health = capped(body.health as JsonObject, healthBytes) as SyncBody["health"];
  const kept = workflows.slice(0, workflowsKept);
  const apps = shortened(body.apps) ?? before?.apps ?? [];
  return { version, state, health, agent_id, held: body.held.length, workflows: kept, apps, free };
}

/** Too long a description shrinks to the names. */
function shortened(apps: SyncBody["apps"]): SyncBody["apps"] {
  if (apps === undefined || JSON.stringify(apps).length <= appsLength) return apps;
  return apps.map(({ workflow }) => ({ workflow, parameters: {}, inputs: [] }));
}

export function parseInfo(row: Pick<SiteRow, "info">): SiteInfo | undefined {
  return row.info === null ? undefined : (JSON.parse(row.info) as SiteInfo);
}

function infoState(row: SessionRow): string | undefined {
  return parseInfo(row)?.state;
}

async function tell(
  ctx: LifecycleContext,
  tx: Tx,
  site: { readonly siteId: string; readonly actor: string },
  body: SyncBody,
  session: Session,
): Promise<void> {
  const at = ctx.clock.now();
  const data = { state: body.state, version: body.version, session_epoch: session.epoch, at: isoTime(at) };
  await appendEvents(tx, [{ type: "site.sync", at, siteId: site.siteId, actor: site.actor, data }]);
}
