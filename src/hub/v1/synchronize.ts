/** One round of synchronize: what the site holds and could start against what it should hold and do. */
import { failpoint } from "../../common/failpoint.ts";
import { isoTime } from "../../common/clock.ts";
import type { JobState } from "../../jobs/states.ts";
import { isFinal } from "../../jobs/transitions.ts";
import type { SyncAnswer } from "../../wire/agent-api.ts";
import { type LifecycleContext, readJobs } from "../jobs/lifecycle.ts";
import { jobRow } from "../jobs/rows.ts";
import type { JobRow } from "../store/tables.ts";
import type { Tx } from "../store/types.ts";
import { assignJobs } from "./assign.ts";
import { leaseMs, releaseExpired } from "./claims.ts";
import { logIntervalMs } from "./log-watch.ts";
import { acknowledgeOrders, openOrders, orderView } from "./orders.ts";
import { enterSession, type Session, type SyncBody } from "./session.ts";
import { assignmentsOf } from "./spec.ts";

export interface Site {
  readonly siteId: string;
  readonly actor: string;
}

/** Without long-poll: when to speak again. */
const idleSyncMs = 10_000;
/** When there may be more work at once. */
const busySyncMs = 1_000;
/** The same for callers that are held: they say first what they took. */
const heldSyncMs = 100;

export interface Round {
  readonly answer: SyncAnswer;
  /** There is something to tell at once. */
  readonly urgent: boolean;
}

/** One look. `first`: acknowledgements are taken and the session is entered; later looks of a held call repeat neither. */
export async function syncRound(ctx: LifecycleContext, site: Site, body: SyncBody, first: boolean): Promise<Round> {
  await releaseExpired(ctx);
  const round = await ctx.store.transaction(async (tx) => {
    const session = await enterSession(ctx, tx, site, body);
    if (first) await acknowledgeOrders(ctx, tx, site.siteId, body.orders);
    if (body.orders.length > 0) await failpoint("hub.before-acknowledge");
    const held = await compareHeld(ctx, tx, site, body);
    const resent = session.current && accepts(body) ? await resend(ctx, tx, site, held) : [];
    const limit = session.current && accepts(body) ? body.max_assign - resent.length : 0;
    const assigned = await assignJobs(ctx, tx, site, withoutTaken(body.free, resent), limit);
    const orders = await ordersFor(tx, site, body, session);
    const answer: SyncAnswer = {
      session_epoch: session.epoch,
      session_current: session.current,
      next_sync_ms: nextSyncMs(body, session, assigned.length + held.fenced.length > 0),
      server_time: isoTime(ctx.clock.now()),
      assign: await assignmentsOf(tx.db, [...resent, ...assigned]),
      orders,
      fenced: held.fenced,
      missing: session.current ? held.missing.map((job) => ({ job: job.id, epoch: job.epoch })) : [],
      log_interval_ms: await logIntervalMs(tx.db, site.siteId, ctx.clock.now()),
    };
    const news = answer.assign.length + orders.length + answer.fenced.length > 0;
    if (assigned.length > 0) await failpoint("hub.before-assign");
    return { answer, urgent: news || session.opened || !session.current };
  });
  if (round.answer.assign.length > 0) await failpoint("hub.after-assign");
  if (body.orders.length > 0) await failpoint("hub.after-acknowledge");
  return round;
}

/** Whoever asks to be held may ask again at once: the hub holds the call, not the caller. */
function nextSyncMs(body: SyncBody, session: Session, busy: boolean): number {
  if (!session.current) return idleSyncMs;
  if (session.opened || body.orders.length > 0) return 0;
  if (busy) return body.hold_ms > 0 ? heldSyncMs : busySyncMs;
  return body.hold_ms > 0 ? 0 : idleSyncMs;
}

/** A paused, draining or stopping agent gets nothing new, and nothing again: an unconfirmed claim of it runs out. */
function accepts(body: SyncBody): boolean {
  return body.state === "running" || body.state === "starting";
}

interface Held {
  readonly fenced: SyncAnswer["fenced"];
  /** Of this site and confirmed, but not listed. */
  readonly missing: readonly JobRow[];
  /** Of this site, handed out but neither confirmed nor listed: the answer was lost. */
  readonly lost: readonly JobRow[];
}

async function compareHeld(ctx: LifecycleContext, tx: Tx, site: Site, body: SyncBody): Promise<Held> {
  const listed = new Map(body.held.map((entry) => [entry.job, entry]));
  const rows = await readJobs(tx.db, [...listed.keys()]);
  const known = new Map(rows.map((row) => [row.id, row]));
  const fenced: SyncAnswer["fenced"] = [];
  const unbound: string[] = [];
  for (const entry of listed.values()) {
    const row = known.get(entry.job);
    const reason = fenceReason(row, entry.epoch, site.siteId);
    if (reason !== undefined) fenced.push({ job: entry.job, reason });
    else if (row?.bound === 0) unbound.push(entry.job);
  }
  await renewLeases(ctx, tx, unbound);
  const own = await openJobsOf(tx, site.siteId);
  const absent = own.filter((row) => !listed.has(row.id));
  return {
    fenced,
    missing: absent.filter((row) => row.bound === 1),
    lost: absent.filter((row) => row.bound === 0 && row.lease_expires_at !== null),
  };
}

function fenceReason(row: JobRow | undefined, epoch: number, siteId: string): string | undefined {
  if (!row) return "the hub does not know this job";
  if (row.site_id !== siteId)
    return row.site_id === null ? "nobody holds it any more" : `site '${row.site_id}' holds it`;
  if (row.epoch !== epoch) return `epoch ${epoch} is over; now ${row.epoch}`;
  return undefined;
}

async function renewLeases(ctx: LifecycleContext, tx: Tx, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  await tx.db
    .updateTable("jobs")
    .set({ lease_expires_at: ctx.clock.now() + leaseMs })
    .where("id", "in", ids)
    .where("bound", "=", 0)
    .where("ended_at", "is", null)
    .execute();
}

/** Jobs of the site that have not ended and were handed out here (claims of the NMDC dialect have no epoch). */
async function openJobsOf(tx: Tx, siteId: string): Promise<JobRow[]> {
  const rows = await tx.db
    .selectFrom("jobs")
    .selectAll()
    .where("site_id", "=", siteId)
    .where("ended_at", "is", null)
    .where("epoch", ">", 0)
    .orderBy("n")
    .execute();
  return rows.map((row) => jobRow(row)).filter((row) => !isFinal(row.state as JobState));
}

/** The same claim again, with the same epoch: the last answer did not arrive. */
async function resend(ctx: LifecycleContext, tx: Tx, site: Site, held: Held): Promise<readonly JobRow[]> {
  const mine = held.lost.filter((row) => row.site_id === site.siteId);
  await renewLeases(
    ctx,
    tx,
    mine.map((row) => row.id),
  );
  return mine;
}

/** The slots that are left when the jobs that are sent again have theirs. */
function withoutTaken(offers: SyncBody["free"], resent: readonly JobRow[]): SyncBody["free"] {
  return offers.flatMap(({ workflow, slots }) => {
    const left = slots - resent.filter((job) => job.workflow_id === workflow).length;
    return left > 0 ? [{ workflow, slots: left }] : [];
  });
}

/** An older instance still watches what it started: it hears of those jobs only. */
async function ordersFor(tx: Tx, site: Site, body: SyncBody, session: Session): Promise<SyncAnswer["orders"]> {
  const rows = await openOrders(tx.db, site.siteId);
  const holds = new Set(body.held.map((entry) => entry.job));
  const mine = session.current ? rows : rows.filter((row) => row.job_id !== null && holds.has(row.job_id));
  return mine.map((row) => orderView(row));
}
