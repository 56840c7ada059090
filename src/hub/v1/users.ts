/** Users and their roles, for administrators. */
import { z } from "zod";
import { Fault } from "../../common/fault.ts";
import { roles, userEditSchema, userListSchema, userViewSchema } from "../../wire/user-api.ts";
import { hashPassword } from "../auth/secrets.ts";
import type { HubContext } from "../context.ts";
import type { UserRow } from "../store/tables.ts";
import { principalOf } from "./access.ts";
import type { V1App } from "./http.ts";

const admin = { config: { access: "admin" } } as const;
const tags = ["accounts"];
const nameParams = z.object({
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$/, "letters, digits and ._@-"),
});

export function userRoutes(app: V1App, ctx: HubContext): void {
  app.get("/users", { ...admin, schema: { tags, response: { 200: userListSchema } } }, async () => {
    const rows = await ctx.store.db.selectFrom("users").selectAll().orderBy("username").execute();
    return { users: rows.map((row) => userView(row)) };
  });

  app.put(
    "/users/:name",
    { ...admin, schema: { tags, params: nameParams, body: userEditSchema, response: { 200: userViewSchema } } },
    async (request) => {
      const { name } = request.params;
      const { role, password, disabled } = request.body;
      if (name === principalOf(request).name && (role !== "admin" || disabled === true)) {
        throw new Fault("CONFLICT", "administrators cannot take their own rights away", {
          hint: "let another one do it",
        });
      }
      const password_hash = password === undefined ? undefined : await hashPassword(password);
      const change = {
        role,
        ...(password_hash === undefined ? {} : { password_hash }),
        ...(disabled === undefined ? {} : { disabled: disabled ? 1 : 0 }),
      };
      const row = await ctx.store.transaction(async (tx) => {
        const known = await tx.db
          .updateTable("users")
          .set(change)
          .where("username", "=", name)
          .returningAll()
          .executeTakeFirst();
        if (known) return known;
        if (password_hash === undefined) throw new Fault("INVALID", `password: user '${name}' is new and needs one`);
        return tx.db
          .insertInto("users")
          .values({
            username: name,
            password_hash,
            email: null,
            full_name: null,
            site_admin: "[]",
            disabled: disabled === true ? 1 : 0,
            role,
            created_at: ctx.clock.now(),
          })
          .returningAll()
          .executeTakeFirstOrThrow();
      });
      return userView(row);
    },
  );
}

function userView(row: UserRow): z.output<typeof userViewSchema> {
  return {
    name: row.username,
    role: roles.find((role) => role === row.role) ?? "viewer",
    disabled: row.disabled === 1,
    sites: JSON.parse(row.site_admin) as string[],
  };
}
