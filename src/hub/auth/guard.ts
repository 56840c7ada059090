/** Who asks: bearer tokens to identities, with the words in which the contract refuses. */
import type { FastifyRequest } from "fastify";
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
  const subject = await subjectOf(ctx, token);
  const identity = subject.startsWith("client:") ? await siteOf(ctx.store.db, subject.slice(7)) : undefined;
  if (!identity) throw unauthenticated(needsSite);
  return identity;
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
  const subject = await subjectOf(ctx, token);
  if (subject.startsWith("client:")) return siteOf(ctx.store.db, subject.slice(7));
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

async function siteOf(db: Queries, clientId: string): Promise<SiteIdentity | undefined> {
  const row = await db.selectFrom("site_clients").select("site_id").where("id", "=", clientId).executeTakeFirst();
  return row && { kind: "site", name: clientId, siteId: row.site_id };
}

/** The subject of a token that is valid now. */
async function subjectOf(ctx: HubContext, token: string): Promise<string> {
  const verified = await ctx.keys.verify(token);
  if (!verified.ok) {
    throw unauthenticated(
      verified.why === "expired"
        ? "Access token has expired. Please log in again."
        : "Access token is invalid. Please log in again.",
    );
  }
  const hash = tokenHash(token);
  const revoked = await ctx.store.db
    .selectFrom("revoked_tokens")
    .select("token_hash")
    .where("token_hash", "=", hash)
    .executeTakeFirst();
  if (revoked) throw unauthenticated("Access token has been invalidated. Please log in again.");
  return verified.subject;
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
