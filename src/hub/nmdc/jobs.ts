/** /jobs (§2 of the contract). */
import type { FastifyInstance } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import type { z } from "zod";
import type { JsonObject } from "../../common/json.ts";
import { actorOf } from "../auth/guard.ts";
import type { HubContext } from "../context.ts";
import { parseQuery } from "../filter/query.ts";
import { type Claimed, claimJob, releaseJob } from "../jobs/claims.ts";
import { type EmbeddedWorkflow, type JobClaim, type JobDocument, parseJob } from "../jobs/document.ts";
import { followClaims } from "../jobs/follow.ts";
import { createJobs, lockJob } from "../jobs/lifecycle.ts";
import { HttpProblem, notFound } from "../problem.ts";
import { listPage } from "./lists.ts";
import { jobInput, listQuery, releaseInput } from "./models.ts";
import { filledJob, filledWorkflow, rendered } from "./render.ts";
import { guards, siteOf } from "./route.ts";
import { utc } from "./times.ts";

const tags = ["jobs"];

export function jobRoutes(base: FastifyInstance, ctx: HubContext): void {
  const app = base.withTypeProvider<ZodTypeProvider>();
  const guard = guards(ctx);

  app.get(
    "/jobs",
    { schema: { tags, querystring: listQuery, summary: "List jobs" }, preValidation: guard.optionalSite },
    async (request) => {
      const site = request.identity?.kind === "site" ? request.identity.siteId : undefined;
      const mine = site === undefined ? undefined : parseQuery({ "claims.site_id": { $ne: site } });
      const page = await listPage(ctx, "jobs", request.query, mine);
      return {
        resources: page.resources,
        ...(page.nextPageToken === undefined ? {} : { next_page_token: page.nextPageToken }),
      };
    },
  );

  app.post(
    "/jobs",
    { schema: { tags, body: jobInput, summary: "Make a job" }, preValidation: guard.site },
    async (request, reply) => reply.code(201).send(await makeJob(ctx, request.body, actorOf(request.identity))),
  );

  app.get(
    "/jobs/:job_id",
    { schema: { tags, summary: "Read a job" }, preValidation: guard.reader },
    async (request) => {
      const row = await ctx.store.db
        .selectFrom("jobs")
        .select("doc")
        .where("id", "=", paramOf(request, "job_id"))
        .executeTakeFirst();
      if (!row) throw notFound();
      return rendered("jobs", parseJob(row) as unknown as JsonObject);
    },
  );

  app.post(
    "/jobs/:job_id(^.+?)::claim",
    { schema: { tags, summary: "Claim a job: makes an operation, each time" }, preValidation: guard.site },
    async (request) => claimReply(await claimJob(ctx, siteOf(request), paramOf(request, "job_id"))),
  );

  app.post(
    "/jobs/:job_id(^.+?)::release",
    { schema: { tags, summary: "Release the own claims on a job" }, preValidation: guard.site },
    async (request) => releasedView(await releaseJob(ctx, siteOf(request), paramOf(request, "job_id"))),
  );

  app.post(
    "/jobs/release",
    {
      schema: { tags, body: releaseInput, summary: "Release the own claims on several jobs" },
      preValidation: guard.site,
    },
    async (request) => {
      const released: JsonObject[] = [];
      for (const id of new Set(request.body.job_ids)) {
        try {
          released.push(releasedView(await releaseJob(ctx, siteOf(request), id)));
        } catch (error) {
          if (!(error instanceof HttpProblem && error.status === 404)) throw error;
        }
      }
      return released;
    },
  );
}

/** A parameter of the path; routes with a pattern are too much for Fastify's types. */
export function paramOf(request: { readonly params: unknown }, name: string): string {
  const value = (request.params as Record<string, unknown>)[name];
  return typeof value === "string" ? value : "";
}

type JobInput = z.output<typeof jobInput>;

async function makeJob(ctx: HubContext, input: JobInput, actor: string): Promise<JsonObject> {
  const { created_at: workflowTime, ...rest } = input.workflow;
  const time =
    workflowTime === undefined ? {} : { created_at: workflowTime === null ? null : { $date: workflowTime.at } };
  const workflow = { ...rest, ...time } as EmbeddedWorkflow;
  const [row] = await ctx.store.transaction(async (tx) => {
    const rows = await createJobs(ctx, tx, [
      {
        workflow,
        config: input.config as JsonObject,
        ...(input.name === undefined ? {} : { name: input.name }),
        ...(input.description === undefined ? {} : { description: input.description }),
        ...(input.claims === undefined ? {} : { claims: input.claims as JobClaim[] }),
        actor,
      },
    ]);
    const made = rows[0];
    if (made && (input.claims?.length ?? 0) > 0) {
      const locked = await lockJob(tx, ctx.store.kind, made.id);
      if (locked) await followClaims(ctx, tx, locked, parseJob(locked), actor);
    }
    return rows;
  });
  if (!row) throw new Error("the job that was just made is gone");
  const document = parseJob(row) as unknown as JsonObject;
  const shownWorkflow = { ...(document["workflow"] as JsonObject) };
  if (workflowTime) Object.assign(shownWorkflow, { created_at: workflowTime.text });
  return { ...document, workflow: shownWorkflow, created_at: utc(row.created_at) };
}

/** Compact: only what is set, and of the job only workflow, id and config. */
function claimReply({ operation, job, expireAt }: Claimed): JsonObject {
  const { workflow, id, config } = rendered("jobs", job as unknown as JsonObject);
  return {
    id: operation.id,
    done: false,
    expire_time: utc(expireAt),
    result: null,
    metadata: {
      model: operation.metadata["model"] ?? null,
      job: { workflow: workflow ?? null, id: id ?? null, config: config ?? null },
      site_id: operation.metadata["site_id"] ?? null,
    },
  };
}

function releasedView(document: JobDocument): JsonObject {
  const filled = filledJob(rendered("jobs", document as unknown as JsonObject));
  return { ...filled, workflow: filledWorkflow(filled["workflow"] as JsonObject) };
}
