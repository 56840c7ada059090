/** Sites and their clients (§1.3 of the contract). */
import type { FastifyInstance } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import type { JsonObject } from "../../common/json.ts";
import { siteAdminsOf } from "../auth/accounts.ts";
import { hasAllowance } from "../auth/guard.ts";
import { hashPassword, newClientSecret } from "../auth/secrets.ts";
import type { HubContext } from "../context.ts";
import { newPlainId } from "../ids.ts";
import { HttpProblem, notFound } from "../problem.ts";
import { isUniqueViolation } from "../store/errors.ts";
import { paramOf } from "./jobs.ts";
import { listPage } from "./lists.ts";
import { accessMethod, clientSecretPatch, listQuery, objectPutInput, siteInput } from "./models.ts";
import { foreignToken } from "./operations.ts";
import { callerOf, guards, siteOf } from "./route.ts";

export function siteRoutes(base: FastifyInstance, ctx: HubContext): void {
  const app = base.withTypeProvider<ZodTypeProvider>();
  const { anyone, reader, site } = guards(ctx);
  const tags = ["sites"];
  const { db } = ctx.store;

  app.get(
    "/sites",
    { schema: { tags, querystring: listQuery, summary: "List sites" }, preValidation: reader },
    async (request) => {
      const page = await listPage(ctx, "sites", request.query);
      if (page.collection !== "sites") throw foreignToken(page.collection);
      return {
        resources: page.resources,
        ...(page.nextPageToken === undefined ? {} : { next_page_token: page.nextPageToken }),
      };
    },
  );

  app.post(
    "/sites",
    { schema: { tags, body: siteInput, summary: "Make a site" }, preValidation: anyone },
    async (request, reply) => {
      const caller = callerOf(request);
      const { id, capability_ids: capabilities = [] } = request.body;
      if (caller.kind === "site") throw new HttpProblem(403, "a site client cannot make sites; log in as a user");
      await makeSite(ctx, id, capabilities, caller.name);
      return reply.code(201).send({ id, capability_ids: capabilities, clients: [] });
    },
  );

  app.get("/sites/:site_id", { schema: { tags, summary: "Read a site" }, preValidation: reader }, async (request) => {
    const row = await db
      .selectFrom("sites")
      .select("doc")
      .where("id", "=", paramOf(request, "site_id"))
      .executeTakeFirst();
    if (!row) throw notFound();
    return JSON.parse(row.doc) as JsonObject;
  });

  app.post(
    "/sites/:site_id(^.+?)::generateCredentials",
    { schema: { tags, summary: "Add a client to a site" }, preValidation: anyone },
    async (request) => {
      const id = paramOf(request, "site_id");
      await requireSiteRow(ctx, id);
      if (!siteAdminsOf(callerOf(request)).includes(id))
        throw new HttpProblem(403, "You're not registered as an admin for this site");
      return makeSiteClient(ctx, id);
    },
  );

  for (const [verb, body] of [
    ["putObject", objectPutInput],
    ["getObjectLink", accessMethod],
  ] as const) {
    app.post(
      `/sites/:site_id(^.+?)::${verb}`,
      { schema: { tags, body, summary: "Object storage, which no site here has" }, preValidation: site },
      async (request) => {
        const id = paramOf(request, "site_id");
        await requireSiteRow(ctx, id);
        if (siteOf(request).siteId !== id)
          throw new HttpProblem(403, `client authorized for different site_id than ${id}`);
        throw new HttpProblem(403, `API-mediated object storage for site ${id} is not enabled.`);
      },
    );
  }

  app.patch(
    "/admin/site_clients/:client_id",
    { schema: { tags, body: clientSecretPatch, summary: "Set a client's secret" }, preValidation: anyone },
    async (request, reply) => {
      if (!(await hasAllowance(db, callerOf(request).name, "/admin/site_clients")))
        throw new HttpProblem(403, "You are not allowed to update site clients.");
      const id = paramOf(request, "client_id");
      const known = await db.selectFrom("site_clients").select("id").where("id", "=", id).executeTakeFirst();
      if (!known) throw notFound("The specified site client does not exist.");
      const { secret } = request.body;
      if (secret === undefined || secret === null) return reply.code(204).send();
      await db
        .updateTable("site_clients")
        .set({ secret_hash: await hashPassword(secret) })
        .where("id", "=", id)
        .execute();
      return reply.type("text/plain; charset=utf-8").serializer(String).send(`Site client '${id}' has been updated.`);
    },
  );
}

async function requireSiteRow(ctx: HubContext, id: string): Promise<void> {
  const row = await ctx.store.db.selectFrom("sites").select("id").where("id", "=", id).executeTakeFirst();
  if (!row) throw notFound(`no site with ID '${id}'`);
}

/** Makes a site with this user as its admin; 409 when it exists. */
export async function makeSite(
  ctx: Pick<HubContext, "store" | "clock">,
  id: string,
  capabilities: readonly string[],
  admin: string,
): Promise<void> {
  try {
    await ctx.store.transaction(async (tx) => {
      const doc = JSON.stringify({ id, capability_ids: capabilities });
      await tx.db.insertInto("sites").values({ id, doc, created_at: ctx.clock.now(), session_epoch: 0 }).execute();
      const query = tx.db.selectFrom("users").select("site_admin").where("username", "=", admin);
      const user = await (ctx.store.kind === "postgres" ? query.forUpdate() : query).executeTakeFirst();
      const sites = new Set(JSON.parse(user?.site_admin ?? "[]") as string[]).add(id);
      await tx.db
        .updateTable("users")
        .set({ site_admin: JSON.stringify([...sites]) })
        .where("username", "=", admin)
        .execute();
    });
  } catch (error) {
    if (isUniqueViolation(error)) throw new HttpProblem(409, `site with supplied id ${id} already exists`);
    throw error;
  }
}

/** A new client of a site; the secret is shown here and never again. */
export async function makeSiteClient(
  ctx: Pick<HubContext, "store" | "clock">,
  siteId: string,
): Promise<{ client_id: string; client_secret: string }> {
  const secret = newClientSecret();
  const row = {
    id: newPlainId(),
    site_id: siteId,
    secret_hash: await hashPassword(secret),
    created_at: ctx.clock.now(),
  };
  await ctx.store.db.insertInto("site_clients").values(row).execute();
  return { client_id: row.id, client_secret: secret };
}
