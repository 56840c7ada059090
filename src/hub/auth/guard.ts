/** Who asks: bearer tokens to identities, with the words in which the contract refuses. */
import type { FastifyRequest } from "fastify";
import { sql } from "kysely";
import type { HubContext } from "../context.ts";
import { HttpProblem, unauthenticated } from "../problem.ts";
import type { Queries } from "../store/types.ts";
import type { UserRow } from "../store/tables.ts";
import { tokenHash } from "./secrets.ts";

export interface UserIdentity {
  readonly kind: "user";
  readonly name: string;
  readonly user: UserRow;
  /** The user's, or the API token's if that is less. */
  readonly role: string;
}

export interface SiteIdentity {
  readonly kind: "site";
  /** The client id. */
  readonly name: string;
  readonly siteId: string;
}

export type Identity = UserIdentity | SiteIdentity;

/** For events and logs: `user:alice`, `client:sys0…`. */
export function actorOf(identity: Identity | undefined): string {
  if (!identity) return "anonymous";
  return identity.kind === "user" ? `user:${identity.name}` : `client:${identity.name}`;
}

const missing = "Access token is invalid or missing. Please log in again.";
const needsSite = "Access token is invalid. Please log in as a site client.";

/** The bearer token of a request, if there is one. */
export function bearerOf(request: FastifyRequest): string | undefined {
  const [scheme = "", token = ""] = (request.headers.authorization ?? "").split(" ", 2);
  return scheme.toLowerCase() === "bearer" && token !== "" ? token : undefined;
}

/** A site client, or 401. */
export async function requireSite(ctx: HubContext, request: FastifyRequest): Promise<SiteIdentity> {
  const site = await optionalSite(ctx, request);
  if (!site) throw unauthenticated(missing);
  return site;
}

/** A site client, or nobody when there is no token; any other token is a 401. */
export async function optionalSite(ctx: HubContext, request: FastifyRequest): Promise<SiteIdentity | undefined> {
  const token = bearerOf(request);
  if (token === undefined) return undefined;
  const { site } = await holderOf(ctx, token);
  if (!site) throw unauthenticated(needsSite);
  return site;
}

/** A user or a site client, or 401; a disabled user gets 400. */
export async function requireAnyone(ctx: HubContext, request: FastifyRequest): Promise<Identity> {
  const token = bearerOf(request);
  if (token === undefined) throw unauthenticated(missing);
  const identity = await identityOf(ctx, token);
  if (!identity) throw unauthenticated("Could not validate credentials");
  return identity;
}

/** Who a bearer token stands for; undefined when its user or client is gone. Throws 401 for a bad token, 400 for a disabled user. */
export async function identityOf(ctx: HubContext, token: string): Promise<Identity | undefined> {
  const { subject, site } = await holderOf(ctx, token);
  if (site) return site;
  if (!subject.startsWith("user:")) return undefined;
  return userOf(ctx.store.db, subject.slice(5));
}

/** The user as an identity, or 400 when disabled. */
export async function userOf(db: Queries, name: string): Promise<UserIdentity | undefined> {
  const user = await db.selectFrom("users").selectAll().where("username", "=", name).executeTakeFirst();
  if (!user) return undefined;
  if (user.disabled === 1) throw new HttpProblem(400, "Inactive user");
  return { kind: "user", name, user, role: user.role };
}

/** Who a valid token stands for, in one query: whether it was revoked, and the site of a client. */
async function holderOf(
  ctx: HubContext,
  token: string,
): Promise<{ readonly subject: string; readonly site?: SiteIdentity }> {
  const verified = await ctx.keys.verify(token);
  if (!verified.ok) {
    throw unauthenticated(
      verified.why === "expired"
        ? "Access token has expired. Please log in again."
        : "Access token is invalid. Please log in again.",
    );
  }
  const { subject } = verified;
  const clientId = subject.startsWith("client:") ? subject.slice(7) : "";
  const found = await sql<{ revoked: string | null; site: string | null }>`SELECT
    (SELECT token_hash FROM revoked_tokens WHERE token_hash = ${tokenHash(token)}) AS revoked,
    (SELECT site_id FROM site_clients WHERE id = ${clientId}) AS site`.execute(ctx.store.db);
  const { revoked = null, site = null } = found.rows[0] ?? {};
  if (revoked !== null) throw unauthenticated("Access token has been invalidated. Please log in again.");
  return { subject, ...(site === null ? {} : { site: { kind: "site", name: clientId, siteId: site } }) };
}

/** True when this user or client holds the allowance. */
export async function hasAllowance(db: Queries, name: string, action: string): Promise<boolean> {
  const row = await db
    .selectFrom("allowances")
    .select("username")
    .where("username", "=", name)
    .where("action", "=", action)
    .executeTakeFirst();
  return row !== undefined;
}
