/** What the NMDC routes share: guards in the contract's order (body syntax, token, model, thing, right). */
import type { FastifyInstance, FastifyRequest, preValidationAsyncHookHandler } from "fastify";
import {
  type Identity,
  identityOf,
  bearerOf,
  optionalSite,
  requireAnyone,
  requireSite,
  type SiteIdentity,
} from "../auth/guard.ts";
import type { HubContext } from "../context.ts";
import { unauthenticated } from "../problem.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** Set by a guard; undefined on open routes. */
    identity: Identity | undefined;
  }
}

export interface Guards {
  /** Site clients only. */
  readonly site: preValidationAsyncHookHandler;
  /** Users and site clients. */
  readonly anyone: preValidationAsyncHookHandler;
  /** A site client or nobody (`GET /jobs`). */
  readonly optionalSite: preValidationAsyncHookHandler;
  /** Anybody where reads are anonymous, else as `anyone`. */
  readonly reader: preValidationAsyncHookHandler;
}

export function installGuards(app: FastifyInstance): void {
  app.decorateRequest("identity", undefined);
}

export function guards(ctx: HubContext): Guards {
  return {
    site: async (request) => {
      request.identity = await requireSite(ctx, request);
    },
    anyone: async (request) => {
      request.identity = await requireAnyone(ctx, request);
    },
    optionalSite: async (request) => {
      request.identity = await optionalSite(ctx, request);
      if (!request.identity && !ctx.config.compat.anonymous_reads) {
        throw unauthenticated("Access token is invalid or missing. Please log in again.");
      }
    },
    reader: async (request) => {
      if (ctx.config.compat.anonymous_reads) return;
      request.identity = await requireAnyone(ctx, request);
    },
  };
}

/** The site client that a `site` guard let through. */
export function siteOf(request: FastifyRequest): SiteIdentity {
  if (request.identity?.kind !== "site")
    throw unauthenticated("Access token is invalid or missing. Please log in again.");
  return request.identity;
}

/** The user or site client that an `anyone` guard let through. */
export function callerOf(request: FastifyRequest): Identity {
  if (!request.identity) throw unauthenticated("Access token is invalid or missing. Please log in again.");
  return request.identity;
}

/** The caller where a token is welcome and not needed; a bad one counts as none. */
export async function softCaller(ctx: HubContext, request: FastifyRequest): Promise<Identity | undefined> {
  const token = bearerOf(request);
  if (token === undefined) return undefined;
  try {
    return await identityOf(ctx, token);
  } catch {
    return undefined;
  }
}
