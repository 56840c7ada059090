/** /admin/allowances: stored pairs of a user (or site client) and an action (§1.5 of the contract). */
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { hasAllowance } from "../auth/guard.ts";
import type { HubContext } from "../context.ts";
import { HttpProblem, notFound } from "../problem.ts";
import { isUniqueViolation } from "../store/errors.ts";
import { allowanceActions, allowanceModel } from "./models.ts";
import { callerOf, guards } from "./route.ts";

const tags = ["accounts"];

export function allowanceRoutes(base: FastifyInstance, ctx: HubContext): void {
  const app = base.withTypeProvider<ZodTypeProvider>();
  const { anyone: preValidation } = guards(ctx);
  const { db } = ctx.store;

  app.get(
    "/admin/allowances/actions",
    { schema: { tags, summary: "Actions that need an allowance" }, preValidation },
    async (request) => {
      await refuseUnlessManager(ctx, request);
      return [...allowanceActions].toSorted();
    },
  );

  app.get(
    "/admin/allowances",
    { schema: { tags, querystring: allowanceModel.partial(), summary: "List allowances" }, preValidation },
    async (request) => {
      await refuseUnlessManager(ctx, request);
      const { username, action } = request.query;
      let query = db.selectFrom("allowances").select(["username", "action"]).orderBy("username").orderBy("action");
      if (username !== undefined) query = query.where("username", "=", username);
      if (action !== undefined) query = query.where("action", "=", action);
      return { resources: await query.execute() };
    },
  );

  app.post(
    "/admin/allowances",
    { schema: { tags, body: allowanceModel, summary: "Grant" }, preValidation },
    async (request, reply) => {
      await refuseUnlessManager(ctx, request);
      const { username, action } = request.body;
      try {
        await db.insertInto("allowances").values({ username, action }).execute();
      } catch (error) {
        if (isUniqueViolation(error))
          throw new HttpProblem(409, `Allowance already exists for user '${username}' and action '${action}'`);
        throw error;
      }
      return reply.code(201).send({ username, action });
    },
  );

  app.delete(
    "/admin/allowances",
    { schema: { tags, querystring: allowanceModel, summary: "Withdraw" }, preValidation },
    async (request, reply) => {
      await refuseUnlessManager(ctx, request);
      const { username, action } = request.query;
      const gone = await db
        .deleteFrom("allowances")
        .where("username", "=", username)
        .where("action", "=", action)
        .returning("username")
        .executeTakeFirst();
      if (!gone) throw notFound(`No allowance found for user '${username}' and action '${action}'`);
      return reply.code(204).send();
    },
  );
}

async function refuseUnlessManager(ctx: HubContext, request: FastifyRequest): Promise<void> {
  if (await hasAllowance(ctx.store.db, callerOf(request).name, "/admin/allowances")) return;
  throw new HttpProblem(403, "Only admin users can manage allowances.");
}
