/** Health, version, root, and the refusals of what needs NMDC's metadata schema or orchestrator (§0.4, §5 of the contract). */
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { hasAllowance } from "../auth/guard.ts";
import type { HubContext } from "../context.ts";
import { HttpProblem, notFound } from "../problem.ts";
import { py } from "../validation.ts";
import { callerOf, guards } from "./route.ts";

/** The server whose wire contract this is. */
const runtime = { "nmdc-runtime": "2.19.0", fastapi: "0.136.1", "nmdc-schema": "11.21.0" } as const;

export function systemRoutes(app: FastifyInstance, ctx: HubContext, version: string): void {
  const tags = ["system"];
  app.get("/health", { schema: { tags, summary: "Health, as the NMDC Runtime says it" } }, async (_request, reply) => {
    const database = await ctx.store.healthy();
    return reply.code(database ? 200 : 503).send({ web_server: true, database });
  });
  app.get("/version", { schema: { tags, summary: "Versions; `siteagent` names our extensions" } }, () =>
    Promise.resolve({
      ...runtime,
      // Without the synchronize call there is nothing of ours that a client could use.
      ...(ctx.features.includes("synchronize")
        ? { siteagent: { api: "/siteagent/v1/", version, features: ctx.features } }
        : {}),
    }),
  );
  app.get("/livez", { schema: { tags, summary: "This process answers" } }, () => Promise.resolve({ status: "ok" }));
  app.get("/readyz", { schema: { tags, summary: "This process can serve" } }, async (_request, reply) => {
    const database = await ctx.store.healthy();
    return reply.code(database ? 200 : 503).send({ status: database ? "ok" : "unavailable", checks: { database } });
  });
  app.get("/", { schema: { hide: true } }, (_request, reply) =>
    reply.code(303).header("location", `${ctx.baseUrl()}/docs`).send(""),
  );
}

const collection = z.string();
/** One command each; anything else is a 422. */
const command = z.union([
  z.object({ find: collection, filter: py.dict().optional() }),
  z.object({ aggregate: collection, pipeline: z.array(py.dict()) }),
  z.object({ getMore: z.string() }),
  z.object({ update: collection, updates: z.array(py.dict()) }),
  z.object({ delete: collection, deletes: z.array(py.dict()) }),
]);

const invalidDatabase =
  "Request payload must represent a valid 'nmdc:Database' instance that includes a 'workflow_execution_set' collection. Validation result: ";
const noSchema = "this hub has no NMDC metadata schema";

export function refusalRoutes(base: FastifyInstance, ctx: HubContext): void {
  const app = base.withTypeProvider<ZodTypeProvider>();
  const { anyone: preValidation, reader } = guards(ctx);
  const tags = ["metadata"];

  app.post(
    "/workflows/workflow_executions",
    { schema: { tags, body: py.dict(), summary: "Results; only an empty set can be checked here" }, preValidation },
    async (request) => {
      await requireAllowance(
        ctx,
        request,
        "/metadata/json:submit",
        "Only specific users can submit workflow executions.",
      );
      const { "@type": _type, ...sets } = request.body;
      const empty = Object.values(sets).every((set) => Array.isArray(set) && set.length === 0);
      if (empty && "workflow_execution_set" in sets) return { message: "Done" };
      throw new HttpProblem(422, `${invalidDatabase}{'result': 'errors', 'detail': '${noSchema}'}`);
    },
  );
  app.post("/workflows/activities", { schema: { tags, summary: "Gone", deprecated: true } }, (_request, reply) =>
    reply
      .code(410)
      .type("application/json")
      .serializer(String)
      .send(
        JSON.stringify(
          "DEPRECATED: migrate your workflow execution code to use `/workflows/workflow_executions` instead.",
        ),
      ),
  );
  app.post(
    "/metadata/json::submit",
    { schema: { tags, body: py.dict(), summary: "Metadata; refused here" }, preValidation },
    async (request) => {
      await requireAllowance(
        ctx,
        request,
        "/metadata/json:submit",
        "Only specific users are allowed to submit json at this time.",
      );
      throw new HttpProblem(422, noSchema);
    },
  );
  app.get(
    "/runs/:run_id",
    { schema: { tags, summary: "Runs of NMDC's orchestrator; there are none" }, preValidation: reader },
    () => {
      throw notFound();
    },
  );
  app.post(
    "/queries::run",
    { schema: { tags, body: command, summary: "MongoDB commands; refused here" }, preValidation },
    async (request) => {
      const body = request.body;
      if ("aggregate" in body) {
        await requireAllowance(
          ctx,
          request,
          "/queries:run(query_cmd:AggregateCommand)",
          "Only specific users are allowed to issue aggregate commands.",
        );
      }
      if ("delete" in body || "update" in body) {
        await requireAllowance(
          ctx,
          request,
          "/queries:run(query_cmd:DeleteCommand)",
          "Only specific users are allowed to issue update and delete commands.",
        );
      }
      throw new HttpProblem(422, noSchema);
    },
  );
}

async function requireAllowance(
  ctx: HubContext,
  request: FastifyRequest,
  action: string,
  words: string,
): Promise<void> {
  if (!(await hasAllowance(ctx.store.db, callerOf(request).name, action))) throw new HttpProblem(403, words);
}
