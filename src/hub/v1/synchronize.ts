/** One round of synchronize: what the site holds and could start against what it should hold and do. */
import { sql } from "kysely";
import { failpoint } from "../../common/failpoint.ts";
import { isoTime } from "../../common/clock.ts";
import type { SyncAnswer } from "../../wire/agent-api.ts";
import { type LifecycleContext, readJobs } from "../jobs/lifecycle.ts";
import { idsPerQuery } from "../jobs/rows.ts";
import { together } from "../store/together.ts";
import type { JobRow, OrderRow } from "../store/tables.ts";
import type { Tx } from "../store/types.ts";
import { chooseJobs, findJobs } from "./assign.ts";
import { claimJobs, expiredIds, leaseMs, releaseAll } from "./claims.ts";
import { type HeldRow, holdings } from "./holdings.ts";
import { intervalSince } from "./log-watch.ts";
import { acknowledgeOrders, openOrders, orderView } from "./orders.ts";
import { lockSite, noteSession, type Session, sessionOf, type SessionRow, type SyncBody } from "./session.ts";
import { assignmentsOf, surroundingsOf } from "./spec.ts";

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
  const call: Call = { site, body, first };
  let looked = await ctx.store.transaction((tx) => lookUnlessDue(ctx, tx, call));
  if ("due" in looked) {
    await releaseAll(ctx, looked.due);
    looked = await ctx.store.transaction(async (tx) =>
      look(ctx, tx, call, await lockSite(tx, ctx.store.kind, site.siteId)),
    );
  }
  if (looked.answer.assign.length > 0) await failpoint("hub.after-assign");
  if (body.orders.length > 0) await failpoint("hub.after-acknowledge");
  return looked;
}

interface Call {
  readonly site: Site;
  readonly body: SyncBody;
  readonly first: boolean;
}

/** A round, or nothing when claims have run out: those jobs are to be released before anybody looks for work. */
async function lookUnlessDue(
  ctx: LifecycleContext,
  tx: Tx,
  call: Call,
): Promise<Round | { readonly due: readonly string[] }> {
  const [due, row] = await together([
    expiredIds(tx.db, ctx.clock.now()),
    lockSite(tx, ctx.store.kind, call.site.siteId),
  ]);
  return due.length > 0 ? { due } : look(ctx, tx, call, row);
}

async function look(
  ctx: LifecycleContext,
  tx: Tx,
  { site, body, first }: Call,
  row: SessionRow | undefined,
): Promise<Round> {
  const session = sessionOf(row, body, ctx.clock.now());
  if (first) await acknowledgeOrders(ctx, tx, site.siteId, body.orders);
  if (body.orders.length > 0) await failpoint("hub.before-acknowledge");
  const most = session.current && accepts(body) ? body.max_assign : 0;
  // Everything that is to be known at once, and nothing asked after the claims: from then on other writers of events wait.
  const [, held, open, queues] = await together([
    noteSession(ctx, tx, site, body, { row, session }),
    compareHeld(ctx, tx, site, body),
    openOrders(tx.db, site.siteId),
    findJobs(ctx, tx, site.siteId, body.free, most),
  ]);
  const resent = session.current && accepts(body) ? await resend(ctx, tx, held) : [];
  const chosen = chooseJobs(tx, queues, withoutTaken(body.free, resent), most - resent.length);
  const surroundings = await surroundingsOf(tx.db, [...resent, ...chosen]);
  const assigned = await claimJobs(ctx, tx, chosen, site.siteId, site.actor);
  const orders = ordersFor(open, body, session);
  const answer: SyncAnswer = {
    session_epoch: session.epoch,
    session_current: session.current,
    next_sync_ms: nextSyncMs(body, session, assigned.length + held.fenced.length > 0),
    server_time: isoTime(ctx.clock.now()),
    assign: assignmentsOf([...resent, ...assigned], surroundings),
    orders,
    fenced: held.fenced,
    unknown: held.unknown,
    missing: session.current ? held.missing.map((job) => ({ job: job.id, epoch: job.epoch })) : [],
    log_interval_ms: intervalSince(session.logRead, ctx.clock.now()),
  };
  const news = answer.assign.length + orders.length + answer.fenced.length > 0;
  if (assigned.length > 0) await failpoint("hub.before-assign");
  return { answer, urgent: news || session.opened || !session.current };
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
  readonly unknown: SyncAnswer["unknown"];
  /** Of this site and confirmed, but not listed. */
  readonly missing: readonly HeldRow[];
  /** Of this site, handed out but neither confirmed nor listed: the answer was lost. */
  readonly lost: readonly HeldRow[];
}

async function compareHeld(ctx: LifecycleContext, tx: Tx, site: Site, body: SyncBody): Promise<Held> {
  const { own, fenced, unknown } = await holdings(tx.db, site.siteId, body.held);
  const fencedIds = new Set(fenced.map((entry) => entry.job));
  const listed = new Set(body.held.map((entry) => entry.job));
  const unbound = own.filter((row) => row.bound === 0 && listed.has(row.id) && !fencedIds.has(row.id));
  await renewLeases(ctx, tx, needRenewal(ctx, unbound));
  const absent = own.filter((row) => !listed.has(row.id));
  return {
    fenced,
    unknown,
    missing: absent.filter((row) => row.bound === 1),
    lost: absent.filter((row) => row.bound === 0 && row.lease_expires_at !== null),
  };
}

/** Those of listed jobs, before half a minute of them is over: each change of a job is one of all its indexes. */
function needRenewal(ctx: LifecycleContext, jobs: readonly HeldRow[]): HeldRow[] {
  const enough = ctx.clock.now() + leaseMs - 30_000;
  return jobs.filter((job) => job.lease_expires_at === null || job.lease_expires_at < enough);
}

async function renewLeases(ctx: LifecycleContext, tx: Tx, jobs: readonly HeldRow[]): Promise<void> {
  for (let start = 0; start < jobs.length; start += idsPerQuery) {
    const ids = jobs.slice(start, start + idsPerQuery).map((job) => job.id);
    await tx.db
      .updateTable("jobs")
      .set({ lease_expires_at: ctx.clock.now() + leaseMs })
      .where("id", "in", ids)
      .where("bound", "=", 0)
      // As an expression: while PostgreSQL has no statistics it takes all that is open for a handful, and reads the index of that as well.
      .where(sql`coalesce(ended_at, 0)`, "=", 0)
      .execute();
  }
}

/** The same claim again, with the same epoch: the last answer did not arrive. */
async function resend(ctx: LifecycleContext, tx: Tx, held: Held): Promise<readonly JobRow[]> {
  await renewLeases(ctx, tx, held.lost);
  return readJobs(
    tx.db,
    held.lost.map((row) => row.id),
  );
}

/** The slots that are left when the jobs that are sent again have theirs. */
function withoutTaken(offers: SyncBody["free"], resent: readonly JobRow[]): SyncBody["free"] {
  return offers.flatMap(({ workflow, slots }) => {
    const left = slots - resent.filter((job) => job.workflow_id === workflow).length;
    return left > 0 ? [{ workflow, slots: left }] : [];
  });
}

/** An older instance still watches what it started: it hears of those jobs only. */
function ordersFor(rows: readonly OrderRow[], body: SyncBody, session: Session): SyncAnswer["orders"] {
  const holds = new Set(body.held.map((entry) => entry.job));
  const mine = session.current ? rows : rows.filter((row) => row.job_id !== null && holds.has(row.job_id));
  return mine.map((row) => orderView(row));
}
