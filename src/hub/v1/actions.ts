/** What people do to jobs: cancel, retry, pause, resume. Done at once when nobody holds the job, else an order to its holder. */
import { failpoint } from "../../common/failpoint.ts";
import { asFault, Fault, isFault } from "../../common/fault.ts";
import { isoTime } from "../../common/clock.ts";
import type { Hold, HoldKind, JobState } from "../../jobs/states.ts";
import { isFinal } from "../../jobs/transitions.ts";
import type { ActionResult } from "../../wire/user-api.ts";
import type { HubContext } from "../context.ts";
import { parseJob } from "../jobs/document.ts";
import { parsedHold } from "../jobs/changes.ts";
import { changeJob, createJobs, lockJob } from "../jobs/lifecycle.ts";
import type { ParentPolicy } from "../../jobs/parent-policy.ts";
import type { JobRow } from "../store/tables.ts";
import type { Tx } from "../store/types.ts";
import { assertMayAct, hasRole, type Principal } from "./access.ts";
import { closeForReaders, orderEvent, releaseExpired } from "./claims.ts";
import { giveUp } from "./end-held.ts";
import { placeOrder } from "./orders.ts";
import { parseSpec } from "./view.ts";

export const jobActions = ["cancel", "retry", "pause", "resume"] as const;
export type JobAction = (typeof jobActions)[number];

/** What came of it; `row` is the job to show (for retry the new one). */
export interface Outcome {
  readonly id: string;
  readonly result: ActionResult["result"];
  readonly row?: JobRow;
  readonly detail?: string;
}

interface Request {
  readonly action: JobAction;
  /** Cancel: end it here whatever its site says; an operator's. */
  readonly force?: boolean;
  readonly reason: string;
  readonly principal: Principal;
}

/** One job, in its own transaction. Throws FORBIDDEN. */
export async function act(ctx: HubContext, id: string, request: Request): Promise<Outcome> {
  await releaseExpired(ctx);
  const outcome = await ctx.store.transaction(async (tx): Promise<Outcome> => {
    const job = await lockJob(tx, ctx.store.kind, id);
    if (!job) return { id, result: "not-found", detail: `no job '${id}'` };
    assertMayAct(request.principal, job);
    const done = await verbs[request.action](ctx, tx, job, request);
    await failpoint("hub.before-action");
    return done;
  });
  await failpoint("hub.after-action");
  return outcome;
}

/** Each id by itself: a result per id, in order; refusals are results. */
export async function actOnMany(ctx: HubContext, ids: readonly string[], request: Request): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const id of ids) {
    try {
      outcomes.push(await act(ctx, id, request));
    } catch (error) {
      if (isFault(error, "STORE") || !isFault(error)) throw error;
      outcomes.push({ id, result: "refused", detail: asFault(error).message });
    }
  }
  return outcomes;
}

type Verb = (ctx: HubContext, tx: Tx, job: JobRow, request: Request) => Promise<Outcome>;

const verbs: Readonly<Record<JobAction, Verb>> = { cancel, retry, pause, resume };

function ended(job: JobRow): boolean {
  return isFinal(job.state as JobState);
}

/** Claims of the NMDC dialect have no way to be told. */
function deaf(job: JobRow): Outcome | undefined {
  const held = job.site_id !== null && (job.bound === 1 || job.lease_expires_at !== null);
  if (held || (job.site_id === null && job.live_claims === 0)) return undefined;
  const detail = "held by a claim of the NMDC API, which knows no orders: the site has to release it";
  return { id: job.id, result: "refused", row: job, detail };
}

async function cancel(ctx: HubContext, tx: Tx, job: JobRow, request: Request): Promise<Outcome> {
  if (ended(job)) return { id: job.id, result: "already-ended", row: job };
  const refused = deaf(job);
  if (refused) return refused;
  const { actor } = request.principal;
  const reason = request.reason || "cancelled";
  if (job.site_id === null) {
    const closed = job.claims_policy === "nmdc" ? await closeForReaders(ctx, tx, job, reason) : job;
    const row = await changeJob(ctx, tx, closed, { state: "CANCELLED", actor, data: { reason } });
    return { id: job.id, result: "done", row };
  }
  if (request.force === true) return await forced(ctx, tx, job, request);
  await placeOrder(ctx, tx, job, { kind: "cancel", reason, actor });
  if (parsedHold(job)?.kind === "cancelling") return { id: job.id, result: "requested", row: job };
  const row = await changeJob(ctx, tx, job, { hold: holdOf(ctx, "cancelling", reason, request), actor });
  return { id: job.id, result: "requested", row };
}

async function forced(ctx: HubContext, tx: Tx, job: JobRow, { principal, reason }: Request): Promise<Outcome> {
  if (!hasRole(principal, "operator"))
    throw new Fault("FORBIDDEN", `only an operator can end a job that a site holds without that site`);
  const row = await giveUp(ctx, tx, job, { reason: reason || "cancelled", actor: principal.actor });
  return { id: job.id, result: "done", row };
}

async function pause(ctx: HubContext, tx: Tx, job: JobRow, request: Request): Promise<Outcome> {
  if (ended(job)) return { id: job.id, result: "already-ended", row: job };
  const refused = deaf(job) ?? busyCancelling(job);
  if (refused) return refused;
  const { actor } = request.principal;
  const reason = request.reason || "paused";
  if (job.site_id !== null) {
    await placeOrder(ctx, tx, job, { kind: "pause", reason, actor });
    return { id: job.id, result: "requested", row: job };
  }
  if (parsedHold(job)?.kind === "paused") return { id: job.id, result: "done", row: job };
  const row = await changeJob(ctx, tx, job, { hold: holdOf(ctx, "paused", reason, request), actor });
  return { id: job.id, result: "done", row };
}

async function resume(ctx: HubContext, tx: Tx, job: JobRow, request: Request): Promise<Outcome> {
  if (ended(job)) return { id: job.id, result: "already-ended", row: job };
  const refused = deaf(job) ?? busyCancelling(job);
  if (refused) return refused;
  const { actor } = request.principal;
  const reason = request.reason || "resumed";
  if (job.site_id !== null) {
    await placeOrder(ctx, tx, job, { kind: "resume", reason, actor });
    return { id: job.id, result: "requested", row: job };
  }
  const row = await changeJob(ctx, tx, job, { hold: null, actor, data: { reason } });
  return { id: job.id, result: "done", row };
}

function busyCancelling(job: JobRow): Outcome | undefined {
  if (parsedHold(job)?.kind !== "cancelling") return undefined;
  return { id: job.id, result: "refused", row: job, detail: "the job is being cancelled" };
}

/** A new job like the ended one. */
async function retry(ctx: HubContext, tx: Tx, job: JobRow, request: Request): Promise<Outcome> {
  if (!ended(job)) {
    return {
      id: job.id,
      result: "refused",
      row: job,
      detail: `only an ended job can be retried; this one is ${job.status}`,
    };
  }
  const doc = parseJob(job);
  const { principal, reason } = request;
  const [row] = await createJobs(ctx, tx, [
    {
      workflow: doc.workflow,
      config: doc.config,
      ...(doc.name === undefined ? {} : { name: doc.name }),
      ...(doc.description === undefined ? {} : { description: doc.description }),
      claims: [],
      owner: job.owner ?? principal.name,
      tags: JSON.parse(job.tags) as Record<string, string>,
      parents: JSON.parse(job.parents) as string[],
      parentPolicy: (job.parent_policy ?? "all_finished") as ParentPolicy,
      priority: job.priority,
      ...(job.wanted_site === null ? {} : { wantedSite: job.wanted_site }),
      retryOf: job.id,
      spec: { parameters: parseSpec(job).parameters ?? {} },
      actor: principal.actor,
    },
  ]);
  if (!row) return { id: job.id, result: "refused", detail: "the new job was not made" };
  await orderEvent(ctx, tx, job, { kind: "retry", id: row.id, actor: principal.actor, reason, result: "done" });
  return { id: job.id, result: "done", row };
}

function holdOf(ctx: HubContext, kind: HoldKind, reason: string, request: Request): Hold {
  return { kind, reason, since: isoTime(ctx.clock.now()), by: request.principal.actor };
}
