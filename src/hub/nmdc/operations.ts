/** /operations (§3 of the contract). */
import type { FastifyInstance } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { Fault } from "../../common/fault.ts";
import type { JsonObject } from "../../common/json.ts";
import type { HubContext } from "../context.ts";
import { patchOperation, type OperationPatch } from "../jobs/claims.ts";
import { parseOperation } from "../jobs/document.ts";
import { HttpProblem, notFound } from "../problem.ts";
import { paramOf } from "./jobs.ts";
import { listPage } from "./lists.ts";
import { listQuery, operationPatch } from "./models.ts";
import { rendered } from "./render.ts";
import { guards, siteOf } from "./route.ts";

const tags = ["operations"];

export function operationRoutes(base: FastifyInstance, ctx: HubContext): void {
  const app = base.withTypeProvider<ZodTypeProvider>();
  const guard = guards(ctx);

  app.get(
    "/operations",
    { schema: { tags, querystring: listQuery, summary: "List operations" }, preValidation: guard.reader },
    async (request) => {
      const page = await listPage(ctx, "operations", request.query);
      if (page.collection !== "operations") throw foreignToken(page.collection);
      return { resources: page.resources.map((one) => modelled(one)), next_page_token: page.nextPageToken ?? null };
    },
  );

  app.get(
    "/operations/:op_id",
    { schema: { tags, summary: "Read an operation" }, preValidation: guard.reader },
    async (request) => {
      const row = await ctx.store.db
        .selectFrom("operations")
        .select("doc")
        .where("id", "=", paramOf(request, "op_id"))
        .executeTakeFirst();
      if (!row) throw notFound();
      return rendered("operations", parseOperation(row) as unknown as JsonObject);
    },
  );

  app.patch(
    "/operations/:op_id",
    {
      schema: { tags, body: operationPatch, summary: "Report on an operation; metadata is replaced as a whole" },
      preValidation: guard.site,
    },
    async (request) => {
      const next = await patchOperation(
        ctx,
        siteOf(request),
        paramOf(request, "op_id"),
        request.body as OperationPatch,
      );
      return rendered("operations", next as unknown as JsonObject);
    },
  );
}

/** A page token that belongs to another collection, where the reply could not show its things. */
export function foreignToken(collection: string): HttpProblem {
  return new HttpProblem(400, `\`page_token\` is of the collection '${collection}'`, { code: "BAD_PAGE_TOKEN" });
}

/** A projected operation still has the fields that the model fills in; what it cannot fill in must be there. */
function modelled(operation: JsonObject): JsonObject {
  if (operation["expire_time"] === undefined) {
    throw new Fault("BAD_FILTER", "a projection of operations must name 'expire_time'");
  }
  return { done: false, result: null, metadata: null, ...operation };
}
