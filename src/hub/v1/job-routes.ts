/** Jobs as people, scripts and the CLI use them. */
import type { z } from "zod";
import { Fault } from "../../common/fault.ts";
import {
  type ActionResult,
  actionRequestSchema,
  actionResultSchema,
  bulkActionAnswerSchema,
  bulkActionSchema,
  bulkCreateAnswerSchema,
  bulkCreateSchema,
  jobCreateSchema,
  jobListSchema,
  jobQuerySchema,
  type JobView,
  jobViewSchema,
} from "../../wire/user-api.ts";
import type { HubContext } from "../context.ts";
import { readJobs } from "../jobs/lifecycle.ts";
import type { JobRow } from "../store/tables.ts";
import { principalOf } from "./access.ts";
import { act, actOnMany, type JobAction, jobActions, type Outcome } from "./actions.ts";
import { idempotencyKeyOf, idParams, type V1App } from "./http.ts";
import { createJob, createMany } from "./jobs-create.ts";
import { queryJobs } from "./jobs-query.ts";
import { noteOnlooker } from "./progress.ts";
import { jobViews } from "./view.ts";

const viewer = { config: { access: "viewer" } } as const;
const submitter = { config: { access: "submitter" } } as const;
const tags = ["jobs"];
const bulkBodyLimit = 64 * 1024 * 1024;

export function jobRoutes(app: V1App, ctx: HubContext): void {
  app.get(
    "/jobs",
    { ...viewer, schema: { tags, querystring: jobQuerySchema, response: { 200: jobListSchema } } },
    async (request) => {
      const page = await queryJobs(ctx.store, request.query);
      const { total, capped, nextCursor } = page;
      return { jobs: await views(ctx, page.rows), total, total_capped: capped, next_cursor: nextCursor };
    },
  );

  app.get(
    "/jobs/:id",
    { ...viewer, schema: { tags, params: idParams, response: { 200: jobViewSchema } } },
    async (request) => {
      const [row] = await readJobs(ctx.store.db, [request.params.id]);
      if (!row) throw new Fault("NOT_FOUND", "Not found");
      await noteOnlooker(ctx, row);
      return oneView(ctx, row);
    },
  );

  app.post(
    "/jobs",
    { ...submitter, schema: { tags, body: jobCreateSchema, response: { 200: jobViewSchema, 201: jobViewSchema } } },
    async (request, reply) => {
      const { row, created } = await createJob(ctx, principalOf(request), request.body, idempotencyKeyOf(request));
      return reply.status(created ? 201 : 200).send(await oneView(ctx, row));
    },
  );

  app.post(
    "/jobs::bulk",
    {
      ...submitter,
      bodyLimit: bulkBodyLimit,
      schema: { tags, body: bulkCreateSchema, response: { 200: bulkCreateAnswerSchema } },
    },
    async (request) => {
      const results = await createMany(ctx, principalOf(request), request.body.jobs);
      const made = results.flatMap((result) => ("row" in result ? [result.row] : []));
      const shown = await viewsById(ctx, made);
      return {
        results: results.map((result) => {
          const job = "row" in result ? shown.get(result.row.id) : undefined;
          if ("row" in result && job) return { job, created: result.created };
          return { error: "error" in result ? result.error : { code: "DEFECT", detail: "the job was not made" } };
        }),
      };
    },
  );

  for (const action of jobActions) actionRoutes(app, ctx, action);
}

function actionRoutes(app: V1App, ctx: HubContext, action: JobAction): void {
  app.post(
    `/jobs/:id(^.+)::${action}`,
    {
      ...submitter,
      schema: { tags, params: idParams, body: actionRequestSchema.nullish(), response: { 200: actionResultSchema } },
    },
    async (request) => {
      const body = request.body as z.output<typeof actionRequestSchema> | null | undefined;
      const { reason = "", force = false } = body ?? {};
      const { id } = request.params as z.output<typeof idParams>;
      const outcome = await act(ctx, id, { action, reason, force, principal: principalOf(request) });
      if (outcome.result === "not-found") throw new Fault("NOT_FOUND", "Not found");
      const [result] = await actionResults(ctx, [outcome]);
      if (!result) throw new Fault("DEFECT", "an action without result");
      return result;
    },
  );

  app.post(
    `/jobs::${action}`,
    { ...submitter, schema: { tags, body: bulkActionSchema, response: { 200: bulkActionAnswerSchema } } },
    async (request) => {
      const { ids, reason, force } = request.body as z.output<typeof bulkActionSchema>;
      const outcomes = await actOnMany(ctx, ids, { action, reason, force, principal: principalOf(request) });
      return { results: await actionResults(ctx, outcomes) };
    },
  );
}

async function actionResults(ctx: HubContext, outcomes: readonly Outcome[]): Promise<ActionResult[]> {
  const shown = await viewsById(
    ctx,
    outcomes.flatMap((outcome) => outcome.row ?? []),
  );
  return outcomes.map(({ id, result, row, detail }) => {
    const job = row && shown.get(row.id);
    return { id, result, ...(job ? { job } : {}), ...(detail === undefined ? {} : { detail }) };
  });
}

async function views(ctx: HubContext, rows: readonly JobRow[]): Promise<JobView[]> {
  return jobViews(ctx.store.db, rows, ctx.clock.now());
}

async function viewsById(ctx: HubContext, rows: readonly JobRow[]): Promise<Map<string, JobView>> {
  return new Map((await views(ctx, rows)).map((view) => [view.id, view]));
}

async function oneView(ctx: HubContext, row: JobRow): Promise<JobView> {
  const [view] = await views(ctx, [row]);
  if (!view) throw new Fault("DEFECT", "a job without view");
  return view;
}
