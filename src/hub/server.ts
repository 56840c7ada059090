/** The hub as a Fastify instance, apart from listening: contract routes, extensions, documents. */
import rateLimit from "@fastify/rate-limit";
import Fastify, { type FastifyInstance } from "fastify";
import type { Clock } from "../common/clock.ts";
import type { Logger } from "../common/logger.ts";
import { TokenKeys } from "./auth/keys.ts";
import type { HubConfig } from "./config.ts";
import type { HubContext } from "./context.ts";
import { installDocuments } from "./documents.ts";
import { installHttp, longestParameter, sendProblem } from "./http.ts";
import { allowanceRoutes } from "./nmdc/allowances.ts";
import { jobRoutes } from "./nmdc/jobs.ts";
import { objectRoutes } from "./nmdc/objects.ts";
import { operationRoutes } from "./nmdc/operations.ts";
import { pidRoutes } from "./nmdc/pids.ts";
import { registryRoutes } from "./nmdc/registries.ts";
import { installGuards } from "./nmdc/route.ts";
import { siteRoutes } from "./nmdc/sites.ts";
import { refusalRoutes, systemRoutes } from "./nmdc/system.ts";
import { tokenRoute } from "./nmdc/token.ts";
import { userRoutes } from "./nmdc/users.ts";
import { HttpProblem } from "./problem.ts";
import { refuseConnection } from "./unreadable.ts";
import type { Store } from "./store/types.ts";

/** More routes or background work on the same server (`/siteagent/v1/`, triggers, the portal). */
export type HubExtension = (app: FastifyInstance, ctx: HubContext) => Promise<void> | void;

export interface HubDeps {
  readonly store: Store;
  readonly config: HubConfig;
  readonly clock: Clock;
  readonly log: Logger;
  /** Of siteagent. */
  readonly version: string;
  readonly extensions?: readonly HubExtension[];
  /** Known once the server listens. */
  baseUrl(): string;
}

/** Everything but listening. Close the instance before the store. */
export async function buildHub(deps: HubDeps): Promise<FastifyInstance> {
  const { config, store, clock, log } = deps;
  const keys = new TokenKeys(store, clock, {
    lifetimeMs: config.tokens.lifetime,
    rotateAfterMs: config.tokens.rotate_keys_after,
  });
  const ctx: HubContext = {
    store,
    config,
    clock,
    log,
    keys,
    baseUrl: () => deps.baseUrl(),
    typesAssigned: [],
    features: [],
  };
  const app = Fastify({
    bodyLimit: config.limits.body,
    trustProxy: config.trust_proxy,
    forceCloseConnections: true,
    exposeHeadRoutes: false,
    frameworkErrors: (error, request, reply) => void sendProblem(ctx, error, request, reply),
    clientErrorHandler: refuseConnection,
    routerOptions: { maxParamLength: longestParameter },
    // A colon in a path may come as %3A, also the one before a verb.
    rewriteUrl: (request) => withColons(request.url ?? "/"),
  });
  installHttp(app, ctx);
  installGuards(app);
  await installDocuments(app, config, deps.version);
  if (config.limits.requests_per_minute > 0) await installRateLimit(app, config.limits.requests_per_minute);
  app.after(() => {
    systemRoutes(app, ctx, deps.version);
    tokenRoute(app, ctx);
    userRoutes(app, ctx);
    siteRoutes(app, ctx);
    allowanceRoutes(app, ctx);
    jobRoutes(app, ctx);
    operationRoutes(app, ctx);
    objectRoutes(app, ctx);
    registryRoutes(app, ctx);
    pidRoutes(app, ctx);
    refusalRoutes(app, ctx);
  });
  for (const extension of deps.extensions ?? []) await extension(app, ctx);
  await app.ready();
  return app;
}

function withColons(url: string): string {
  const end = url.indexOf("?");
  const path = end < 0 ? url : url.slice(0, end);
  return path.replaceAll(/%3a/gi, ":") + (end < 0 ? "" : url.slice(end));
}

/** Requests of one address for each of one client: many clients may stand behind one address. */
const addressFactor = 10;
const probes = ["/livez", "/readyz", "/health"];

/**
 * Per client where one is known, else per address; and per address whatever becomes of the request, so that what is refused early
 * (tokens, paths, bodies) has a limit too. Each hub process counts for itself.
 */
async function installRateLimit(app: FastifyInstance, perMinute: number): Promise<void> {
  await app.register(rateLimit, {
    max: perMinute,
    timeWindow: 60_000,
    hook: "preHandler",
    keyGenerator: (request) => request.identity?.name ?? request.ip,
    allowList: (request) => probes.includes(request.url),
    errorResponseBuilder: (_request, limit) => tooManyRequests(limit.max, limit.after),
  });
  const ofAddress = app.createRateLimit({
    max: perMinute * addressFactor,
    timeWindow: 60_000,
    keyGenerator: (request) => `address ${request.ip}`,
  });
  app.addHook("onRequest", async (request) => {
    const limit = await ofAddress(request);
    if (limit.isAllowed || !limit.isExceeded) return;
    throw tooManyRequests(limit.max, `${limit.ttlInSeconds} seconds`, { "retry-after": String(limit.ttlInSeconds) });
  });
}

function tooManyRequests(max: number, after: string, headers: Record<string, string> = {}): HttpProblem {
  return new HttpProblem(429, `more than ${max} requests a minute; try again in ${after}`, {
    code: "RATE_LIMITED",
    headers,
  });
}
