/** /token, users, sites and allowances (§1 of the contract). */
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import type { z } from "zod";
import type { JsonObject } from "../../common/json.ts";
import { siteAdminsOf, userAdminSite } from "../auth/accounts.ts";
import { hasAllowance } from "../auth/guard.ts";
import { hashPassword, newClientSecret, passwordMatches, wasteTime } from "../auth/secrets.ts";
import type { HubContext } from "../context.ts";
import { newPlainId } from "../ids.ts";
import { HttpProblem, notFound, unauthenticated } from "../problem.ts";
import { isUniqueViolation } from "../store/errors.ts";
import type { UserRow } from "../store/tables.ts";
import { paramOf } from "./jobs.ts";
import { listPage } from "./lists.ts";
import {
  clientSecretPatch,
  listQuery,
  objectPutInput,
  accessMethod,
  siteInput,
  tokenForm,
  userInput,
} from "./models.ts";
import { foreignToken } from "./operations.ts";
import { callerOf, guards, siteOf } from "./route.ts";

export function accountRoutes(base: FastifyInstance, ctx: HubContext): void {
  tokenRoute(base, ctx);
  userRoutes(base, ctx);
  siteRoutes(base, ctx);
}

function tokenRoute(app: FastifyInstance, ctx: HubContext): void {
  app.post(
    "/token",
    {
      config: { body: "form" },
      schema: {
        tags: ["accounts"],
        summary: "Get an access token",
        consumes: ["application/x-www-form-urlencoded"],
        body: tokenForm,
      },
    },
    async (request) => {
      const subject = await grantedSubject(ctx, request);
      const seconds = Math.floor(ctx.keys.lifetimeMs / 1000);
      const days = Math.floor(seconds / 86_400);
      const hours = Math.floor((seconds % 86_400) / 3600);
      const minutes = Math.floor((seconds % 3600) / 60);
      return { access_token: await ctx.keys.sign(subject), token_type: "bearer", expires: { days, hours, minutes } };
    },
  );
}

const grantPattern = "^password$|^client_credentials$";

async function grantedSubject(ctx: HubContext, request: FastifyRequest): Promise<string> {
  const form = request.body as Readonly<Record<string, string | undefined>>;
  const { grant_type: grant, username, password } = form;
  if (grant !== undefined && !new RegExp(grantPattern).test(grant)) {
    throw new HttpProblem(422, [
      {
        type: "string_pattern_mismatch",
        loc: ["body", "grant_type"],
        msg: `String should match pattern '${grantPattern}'`,
        input: grant,
        ctx: { pattern: grantPattern },
      },
    ]);
  }
  if (grant === "password") {
    if (!username || !password) throw new HttpProblem(400, "grant_type password requires username and password");
    return passwordGrant(ctx, username, password);
  }
  const basic = grant !== undefined && form["client_id"] === undefined ? basicOf(request) : undefined;
  const { id, secret } = basic ?? { id: form["client_id"], secret: form["client_secret"] };
  if (grant === undefined && (!id || !secret)) {
    throw new HttpProblem(422, [{ type: "missing", loc: ["body", "grant_type"], msg: "Field required", input: null }]);
  }
  if (!id) throw new HttpProblem(400, "grant_type client_credentials requires client_id and client_secret");
  return clientGrant(ctx, id, secret ?? "");
}

async function passwordGrant(ctx: HubContext, username: string, password: string): Promise<string> {
  const user = await ctx.store.db
    .selectFrom("users")
    .select("password_hash")
    .where("username", "=", username)
    .executeTakeFirst();
  if (!user) await wasteTime(password);
  if (!user || !(await passwordMatches(password, user.password_hash)))
    throw unauthenticated("Incorrect username or password");
  return `user:${username}`;
}

async function clientGrant(ctx: HubContext, id: string, secret: string): Promise<string> {
  const client = await ctx.store.db
    .selectFrom("site_clients")
    .select("secret_hash")
    .where("id", "=", id)
    .executeTakeFirst();
  if (!client) await wasteTime(secret);
  if (!client || !(await passwordMatches(secret, client.secret_hash)))
    throw unauthenticated("Incorrect client_id or client_secret");
  return `client:${id}`;
}

function basicOf(request: FastifyRequest): { id: string; secret: string } | undefined {
  const [scheme = "", encoded = ""] = (request.headers.authorization ?? "").split(" ", 2);
  if (scheme.toLowerCase() !== "basic") return undefined;
  const text = Buffer.from(encoded, "base64").toString("utf8");
  const colon = text.indexOf(":");
  return colon < 0 ? undefined : { id: text.slice(0, colon), secret: text.slice(colon + 1) };
}

function userView(user: UserRow) {
  return {
    username: user.username,
    email: user.email,
    full_name: user.full_name,
    site_admin: JSON.parse(user.site_admin) as string[],
    disabled: user.disabled === 1,
  };
}

function userRoutes(base: FastifyInstance, ctx: HubContext): void {
  const app = base.withTypeProvider<ZodTypeProvider>();
  const { anyone } = guards(ctx);
  const tags = ["accounts"];
  const noCreate = "only admins for site nmdc-runtime-useradmin are allowed to create users.";

  app.get("/users/me", { schema: { tags, summary: "Who am I" }, preValidation: anyone }, (request) => {
    const caller = callerOf(request);
    return Promise.resolve(caller.kind === "site" ? { username: caller.name } : userView(caller.user));
  });

  app.post(
    "/users",
    { schema: { tags, body: userInput, summary: "Make a user" }, preValidation: anyone },
    async (request, reply) => {
      refuseUnlessUserAdmin(request, noCreate);
      const row = {
        ...(await userColumns(request.body)),
        username: request.body.username,
        role: "submitter",
        created_at: ctx.clock.now(),
      };
      try {
        await ctx.store.db.insertInto("users").values(row).execute();
      } catch (error) {
        if (isUniqueViolation(error))
          throw new HttpProblem(409, `user with supplied username ${row.username} already exists`);
        throw error;
      }
      return reply.code(201).send(userView(row));
    },
  );

  app.put(
    "/users",
    { schema: { tags, body: userInput, summary: "Replace a user" }, preValidation: anyone },
    async (request) => {
      refuseUnlessUserAdmin(request, noCreate);
      const columns = await userColumns(request.body);
      const row = await ctx.store.db
        .updateTable("users")
        .set(columns)
        .where("username", "=", request.body.username)
        .returningAll()
        .executeTakeFirst();
      if (!row) throw notFound();
      return userView(row);
    },
  );

  app.get("/admin/users", { schema: { tags, summary: "List users" }, preValidation: anyone }, async (request) => {
    refuseUnlessUserAdmin(request, "Only Runtime admins can list users.");
    const rows = await ctx.store.db.selectFrom("users").selectAll().execute();
    return rows.map((row) => userView(row)).toSorted((a, b) => (a.username < b.username ? -1 : 1));
  });
}

function refuseUnlessUserAdmin(request: FastifyRequest, words: string): void {
  if (!siteAdminsOf(callerOf(request)).includes(userAdminSite)) throw new HttpProblem(403, words);
}

async function userColumns(input: z.output<typeof userInput>) {
  return {
    password_hash: await hashPassword(input.password),
    email: input.email ?? null,
    full_name: input.full_name ?? null,
    site_admin: JSON.stringify(input.site_admin ?? []),
    disabled: input.disabled === true ? 1 : 0,
  };
}

function siteRoutes(base: FastifyInstance, ctx: HubContext): void {
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
