/** What a site's agent calls: synchronize, reports, and claims by hand. Guard: site client. */
import { failpoint } from "../../common/failpoint.ts";
import { z } from "zod";
import { Fault } from "../../common/fault.ts";
import { isFinal } from "../../jobs/transitions.ts";
import type { JobState } from "../../jobs/states.ts";
import {
  type Assignment,
  assignmentSchema,
  claimRequestSchema,
  releaseRequestSchema,
  renewRequestSchema,
  reportsAnswerSchema,
  reportsRequestSchema,
  syncAnswerSchema,
  syncRequestSchema,
} from "../../wire/agent-api.ts";
import { jobViewSchema } from "../../wire/user-api.ts";
import type { HubContext } from "../context.ts";
import { lockJob } from "../jobs/lifecycle.ts";
import type { JobRow } from "../store/tables.ts";
import type { Tx } from "../store/types.ts";
import { siteOf } from "./access.ts";
import { claimJob, isClaimable, isReleasable, leaseMs, releaseExpired, unclaimJob } from "./claims.ts";
import type { HeldCalls } from "./held.ts";
import { idempotencyKeyOf, idParams, type V1App } from "./http.ts";
import { applyReports } from "./reports.ts";
import { assignmentsOf, surroundingsOf } from "./spec.ts";
import type { Site } from "./synchronize.ts";
import { jobViews } from "./view.ts";
import { holdSynchronize } from "./wait.ts";

const site = { config: { access: "site" } } as const;
/** 100 000 held jobs fit. */
const syncBodyLimit = 32 * 1024 * 1024;
const reportsBodyLimit = 16 * 1024 * 1024;

export function agentRoutes(app: V1App, ctx: HubContext, held: HeldCalls): void {
  app.post(
    "/synchronize",
    {
      ...site,
      bodyLimit: syncBodyLimit,
      schema: { tags: ["agent"], body: syncRequestSchema, response: { 200: syncAnswerSchema } },
    },
    async (request, reply) => holdSynchronize(ctx, siteOf(request), request.body, held.hold(reply)),
  );

  app.post(
    "/reports",
    {
      ...site,
      bodyLimit: reportsBodyLimit,
      schema: { tags: ["agent"], body: reportsRequestSchema, response: { 200: reportsAnswerSchema } },
    },
    async (request) => ({ results: await applyReports(ctx, siteOf(request), request.body.reports) }),
  );

  claimRoutes(app, ctx);
}

function claimRoutes(app: V1App, ctx: HubContext): void {
  app.post(
    "/jobs/:id(^.+)::claim",
    {
      ...site,
      schema: {
        tags: ["agent"],
        params: idParams,
        body: claimRequestSchema.nullish(),
        response: { 200: assignmentSchema },
      },
    },
    async (request) => {
      await releaseExpired(ctx);
      return claimByHand(ctx, siteOf(request), request.params.id, idempotencyKeyOf(request));
    },
  );

  app.post(
    "/jobs/:id(^.+)::renew",
    {
      ...site,
      schema: {
        tags: ["agent"],
        params: idParams,
        body: renewRequestSchema,
        response: { 200: z.object({ lease_ms: z.int() }) },
      },
    },
    async (request) => {
      await ctx.store.transaction(async (tx) => {
        const job = await holderJob(ctx, tx, siteOf(request), request.params.id, request.body.epoch);
        if (job.bound === 1 || isFinal(job.state as JobState)) return;
        const columns = { lease_expires_at: ctx.clock.now() + leaseMs };
        await tx.db.updateTable("jobs").set(columns).where("id", "=", job.id).execute();
      });
      return { lease_ms: leaseMs };
    },
  );

  app.post(
    "/jobs/:id(^.+)::release",
    {
      ...site,
      schema: { tags: ["agent"], params: idParams, body: releaseRequestSchema, response: { 200: jobViewSchema } },
    },
    async (request) => {
      const caller = siteOf(request);
      const row = await ctx.store.transaction(async (tx) => {
        const job = await holderJob(ctx, tx, caller, request.params.id, request.body.epoch);
        assertReleasable(job);
        const reason = request.body.reason || "handed back by the site";
        const released = await unclaimJob(ctx, tx, job, { code: "RELEASED", reason, actor: caller.actor });
        await failpoint("hub.before-release");
        return released;
      });
      await failpoint("hub.after-release");
      return firstView(ctx, row);
    },
  );
}

/**
 * Exclusive claim of one job. The same site with the same Idempotency-Key gets the same claim again.
 * @throws Fault NOT_FOUND, CLAIM_LOST, CONFLICT
 */
async function claimByHand(ctx: HubContext, caller: Site, id: string, key: string | undefined): Promise<Assignment> {
  return ctx.store.transaction(async (tx) => {
    const job = await lockJob(tx, ctx.store.kind, id);
    if (!job) throw new Fault("NOT_FOUND", "Not found");
    const repeated = key !== undefined && (await isRepeated(tx, caller, job, key));
    const row = repeated ? job : await claimFresh(ctx, tx, caller, job);
    if (!repeated && key !== undefined) await rememberClaim(ctx, tx, caller, row, key);
    const [assignment] = assignmentsOf([row], await surroundingsOf(tx.db, [row]));
    if (!assignment) throw new Fault("DEFECT", "a claimed job without operation");
    return assignment;
  });
}

async function claimFresh(ctx: HubContext, tx: Tx, caller: Site, job: JobRow): Promise<JobRow> {
  if (isClaimable(job, caller.siteId)) return claimJob(ctx, tx, job, caller.siteId, caller.actor);
  if (job.site_id !== null || job.live_claims > 0) {
    throw new Fault("CLAIM_LOST", `job '${job.id}' is held by '${job.site_id ?? "another site"}'`, {
      details: { site: job.site_id, epoch: job.epoch },
    });
  }
  throw new Fault("CONFLICT", `job '${job.id}' cannot be claimed: it is ${job.status}, state ${job.state}`);
}

const scopeOf = (caller: Site): string => `claim:${caller.siteId}`;

async function isRepeated(tx: Tx, caller: Site, job: JobRow, key: string): Promise<boolean> {
  const known = await tx.db
    .selectFrom("idempotency_keys")
    .select("response")
    .where("scope", "=", scopeOf(caller))
    .where("key", "=", `${job.id} ${key}`)
    .executeTakeFirst();
  return job.site_id === caller.siteId && known?.response === String(job.epoch);
}

async function rememberClaim(ctx: HubContext, tx: Tx, caller: Site, job: JobRow, key: string): Promise<void> {
  const response = String(job.epoch);
  await tx.db
    .insertInto("idempotency_keys")
    .values({
      scope: scopeOf(caller),
      key: `${job.id} ${key}`,
      request_hash: "",
      status: 200,
      response,
      created_at: ctx.clock.now(),
    })
    .onConflict((conflict) => conflict.columns(["scope", "key"]).doUpdateSet({ response }))
    .execute();
}

/** The locked job, held by the caller in this epoch. Throws NOT_FOUND, STALE_EPOCH. */
export async function holderJob(ctx: HubContext, tx: Tx, caller: Site, id: string, epoch: number): Promise<JobRow> {
  const job = await lockJob(tx, ctx.store.kind, id);
  if (!job) throw new Fault("NOT_FOUND", "Not found");
  if (job.site_id !== caller.siteId || job.epoch !== epoch) {
    throw new Fault("STALE_EPOCH", `epoch ${epoch} of job '${id}' is over; now ${job.epoch}`, {
      details: { epoch: job.epoch, site: job.site_id },
    });
  }
  return job;
}

function assertReleasable(job: JobRow): void {
  if (isReleasable(job.state as JobState)) return;
  throw new Fault("ILLEGAL_TRANSITION", `a job in state '${job.state}' cannot be handed back`, {
    hint: "it can be before it runs, or between two attempts",
  });
}

async function firstView(ctx: HubContext, row: JobRow) {
  const [view] = await jobViews(ctx.store.db, [row], ctx.clock.now());
  if (!view) throw new Fault("DEFECT", "a job without view");
  return view;
}
