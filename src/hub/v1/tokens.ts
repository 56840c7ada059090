/** Who am I; API tokens for scripts; users and their roles. */
import { randomBytes } from "node:crypto";
import type { z } from "zod";
import { isoTime } from "../../common/clock.ts";
import { Fault } from "../../common/fault.ts";
import {
  meSchema,
  type Role,
  roles,
  tokenCreatedSchema,
  tokenCreateSchema,
  tokenListSchema,
  type tokenViewSchema,
} from "../../wire/user-api.ts";
import { tokenHash } from "../auth/secrets.ts";
import type { HubContext } from "../context.ts";
import { newPlainId } from "../ids.ts";
import type { HubDatabase } from "../store/tables.ts";
import type { Selectable } from "kysely";
import { apiTokenPrefix, hasRole, principalOf } from "./access.ts";
import { idParams, type V1App } from "./http.ts";

const viewer = { config: { access: "viewer" } } as const;
const tags = ["accounts"];

export function tokenRoutes(app: V1App, ctx: HubContext): void {
  app.get("/me", { ...viewer, schema: { tags, response: { 200: meSchema } } }, async (request) => {
    const { name, kind, role, sites } = principalOf(request);
    return { name, kind, role, sites: [...sites] };
  });

  app.get("/tokens", { ...viewer, schema: { tags, response: { 200: tokenListSchema } } }, async (request) => {
    const principal = principalOf(request);
    let query = ctx.store.db.selectFrom("api_tokens").selectAll().where("revoked_at", "is", null);
    if (!hasRole(principal, "admin")) query = query.where("username", "=", principal.name);
    const rows = await query.orderBy("created_at").execute();
    return { tokens: rows.map((row) => tokenView(row)) };
  });

  app.post(
    "/tokens",
    { ...viewer, schema: { tags, body: tokenCreateSchema, response: { 201: tokenCreatedSchema } } },
    async (request, reply) => {
      const principal = principalOf(request);
      if (principal.kind === "site") throw new Fault("FORBIDDEN", "tokens belong to users, not to site clients");
      const { name, role, expires_at } = request.body;
      if (roles.indexOf(role) > roles.indexOf(principal.role)) {
        throw new Fault("FORBIDDEN", `role '${role}' is more than yours; allowed: up to '${principal.role}'`);
      }
      const made = await makeToken(ctx, { username: principal.name, name, role, expires_at });
      return reply.status(201).send(made);
    },
  );

  app.delete("/tokens/:id", { ...viewer, schema: { tags, params: idParams } }, async (request, reply) => {
    const principal = principalOf(request);
    let query = ctx.store.db
      .updateTable("api_tokens")
      .set({ revoked_at: ctx.clock.now() })
      .where("id", "=", request.params.id)
      .where("revoked_at", "is", null);
    if (!hasRole(principal, "admin")) query = query.where("username", "=", principal.name);
    const { numUpdatedRows } = await query.executeTakeFirst();
    if (Number(numUpdatedRows) === 0) throw new Fault("NOT_FOUND", "Not found");
    return reply.status(204).send();
  });
}

async function makeToken(
  ctx: HubContext,
  token: {
    readonly username: string;
    readonly name: string;
    readonly role: Role;
    readonly expires_at?: string | undefined;
  },
): Promise<z.output<typeof tokenCreatedSchema>> {
  const secret = `${apiTokenPrefix}${randomBytes(32).toString("base64url")}`;
  const row = {
    id: newPlainId(),
    token_hash: tokenHash(secret),
    username: token.username,
    role: token.role,
    name: token.name,
    created_at: ctx.clock.now(),
    expires_at: token.expires_at === undefined ? null : Date.parse(token.expires_at),
    revoked_at: null,
    last_used_at: null,
  };
  await ctx.store.db.insertInto("api_tokens").values(row).execute();
  return { ...tokenView(row), secret };
}

function tokenView(row: Selectable<HubDatabase["api_tokens"]>): z.output<typeof tokenViewSchema> {
  return {
    id: row.id,
    name: row.name ?? "",
    role: roles.find((role) => role === row.role) ?? "viewer",
    owner: row.username,
    created_at: isoTime(row.created_at),
    expires_at: row.expires_at === null ? null : isoTime(row.expires_at),
    last_used_at: row.last_used_at === null ? null : isoTime(row.last_used_at),
  };
}
