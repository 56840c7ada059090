/** Users (§1.4 of the contract). */
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import type { z } from "zod";
import { siteAdminsOf, userAdminSite } from "../auth/accounts.ts";
import { hashPassword } from "../auth/secrets.ts";
import type { HubContext } from "../context.ts";
import { HttpProblem, notFound } from "../problem.ts";
import { isUniqueViolation } from "../store/errors.ts";
import type { UserRow } from "../store/tables.ts";
import { userInput } from "./models.ts";
import { callerOf, guards } from "./route.ts";

function userView(user: UserRow) {
  return {
    username: user.username,
    email: user.email,
    full_name: user.full_name,
    site_admin: JSON.parse(user.site_admin) as string[],
    disabled: user.disabled === 1,
  };
}

export function userRoutes(base: FastifyInstance, ctx: HubContext): void {
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
