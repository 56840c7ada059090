/** Who may do what under /siteagent/v1/: users and API tokens with roles, site clients for what agents do. Never anonymous. */
import type { FastifyInstance, FastifyRequest } from "fastify";
import { Fault } from "../../common/fault.ts";
import { type Role, roles } from "../../wire/user-api.ts";
import { bearerOf, type Identity, identityOf, userOf } from "../auth/guard.ts";
import { tokenHash } from "../auth/secrets.ts";
import type { HubContext } from "../context.ts";
import { unauthenticated } from "../problem.ts";
import type { JobRow } from "../store/tables.ts";

/** What a route demands: a role or more, or a site's agent. Site clients read as viewers. */
export type Access = Role | "site";

export interface Principal {
  readonly kind: "user" | "site" | "token";
  readonly name: string;
  /** For events and logs: `user:alice`, `client:sys0…`. */
  readonly actor: string;
  readonly role: Role;
  /** Of a site client: the site it acts for. */
  readonly siteId: string | undefined;
  /** Sites that a user administers. */
  readonly sites: readonly string[];
}

declare module "fastify" {
  interface FastifyContextConfig {
    /** Who may call a route of /siteagent/v1/. */
    access?: Access;
  }
}

/** The prefix of API tokens; what follows is 256 bits of chance. */
export const apiTokenPrefix = "sat_";
/** `last_used_at` of a token is written at most this often, milliseconds. */
const touchEveryMs = 60_000;

const principals = new WeakMap<FastifyRequest, Principal>();

/** Checks every request of this scope before its body is read. A route without `config.access` is an error of ours. */
export function guardRoutes(app: FastifyInstance, ctx: HubContext): void {
  app.addHook("onRequest", async (request) => {
    const access = request.routeOptions.config.access;
    if (access === undefined) throw new Fault("DEFECT", `route '${request.routeOptions.url ?? "?"}' has no guard`);
    const identity = await identityFor(ctx, request);
    request.identity = identity;
    const principal = fromIdentity(identity);
    assertAccess(principal, access);
    principals.set(request, principal);
  });
}

/** Who calls; only in routes of a guarded scope. */
export function principalOf(request: FastifyRequest): Principal {
  const principal = principals.get(request);
  if (!principal) throw new Fault("DEFECT", "no principal: the route is outside of the guarded scope");
  return principal;
}

/** The site whose agent calls; only in routes with `access: "site"`. */
export function siteOf(request: FastifyRequest): { readonly siteId: string; readonly actor: string } {
  const { siteId, actor } = principalOf(request);
  if (siteId === undefined) throw new Fault("FORBIDDEN", "only a site client may do this");
  return { siteId, actor };
}

export function hasRole(principal: Principal, role: Role): boolean {
  return roles.indexOf(principal.role) >= roles.indexOf(role);
}

/** Submitters act on what is theirs, operators on all. Throws FORBIDDEN. */
export function assertMayAct(principal: Principal, job: Pick<JobRow, "id" | "owner">): void {
  if (hasRole(principal, "operator")) return;
  if (hasRole(principal, "submitter") && job.owner === principal.name) return;
  throw new Fault("FORBIDDEN", `job '${job.id}' belongs to '${job.owner ?? "nobody"}'`, {
    hint: "its owner or an operator can do this",
  });
}

function assertAccess(principal: Principal, access: Access): void {
  if (access === "site") {
    if (principal.siteId === undefined) throw new Fault("FORBIDDEN", "only a site client may do this");
    return;
  }
  if (hasRole(principal, access)) return;
  throw new Fault("FORBIDDEN", `role '${access}' is needed, '${principal.name}' has '${principal.role}'`);
}

async function identityFor(ctx: HubContext, request: FastifyRequest): Promise<Known> {
  const token = bearerOf(request);
  if (token === undefined) throw unauthenticated("Access token is invalid or missing. Please log in again.");
  if (token.startsWith(apiTokenPrefix)) return byApiToken(ctx, token);
  const identity = await identityOf(ctx, token);
  if (!identity) throw unauthenticated("Could not validate credentials");
  return identity;
}

/** `apiToken`: the role is already the lesser of the token's and the user's. */
type Known = Identity & { readonly apiToken?: boolean };

function fromIdentity(identity: Known): Principal {
  const { name } = identity;
  if (identity.kind === "site") {
    const { siteId } = identity;
    return { kind: "site", name, actor: `client:${name}`, role: "viewer", siteId, sites: [siteId] };
  }
  const sites = JSON.parse(identity.user.site_admin) as string[];
  const kind = identity.apiToken === true ? "token" : "user";
  return { kind, name, actor: `user:${name}`, role: roleOf(identity.role), siteId: undefined, sites };
}

async function byApiToken(ctx: HubContext, token: string): Promise<Known> {
  const now = ctx.clock.now();
  const row = await ctx.store.db
    .selectFrom("api_tokens")
    .selectAll()
    .where("token_hash", "=", tokenHash(token))
    .executeTakeFirst();
  if (!row) throw unauthenticated("Access token is invalid. Please log in again.");
  if (row.revoked_at !== null) throw unauthenticated("Access token has been invalidated. Please log in again.");
  if (row.expires_at !== null && row.expires_at <= now) {
    throw unauthenticated("Access token has expired. Please log in again.");
  }
  const identity = await userOf(ctx.store.db, row.username);
  if (!identity) throw unauthenticated("Could not validate credentials");
  if (row.last_used_at === null || row.last_used_at < now - touchEveryMs) {
    await ctx.store.db.updateTable("api_tokens").set({ last_used_at: now }).where("id", "=", row.id).execute();
  }
  return { ...identity, role: lesser(roleOf(row.role), roleOf(identity.role)), apiToken: true };
}

function roleOf(text: string): Role {
  return roles.find((role) => role === text) ?? "viewer";
}

function lesser(left: Role, right: Role): Role {
  return roles.indexOf(left) < roles.indexOf(right) ? left : right;
}
