/**
 * The hub's own API, `/siteagent/v1/`: for agents (synchronize, reports) and for people, scripts and the CLI. Never needed by NMDC
 * clients, never anonymous. One file per concern; this one puts them together.
 */
import type { FastifyInstance } from "fastify";
import type { HubContext } from "../context.ts";
import { guardRoutes } from "./access.ts";
import { agentRoutes } from "./agent-routes.ts";
import type { V1App } from "./http.ts";
import { HeldCalls } from "./held.ts";
import { jobRoutes } from "./job-routes.ts";
import { eventRoutes } from "./events.ts";
import { fileRoutes } from "./files.ts";
import { logRoutes } from "./logs.ts";
import { outputRoutes } from "./outputs.ts";
import { progressRoutes } from "./progress.ts";
import { registryRoutes } from "./registries.ts";
import { describeRoute } from "./route-docs.ts";
import { siteRoutes } from "./sites.ts";
import { tokenRoutes } from "./tokens.ts";
import { userRoutes } from "./users.ts";
import { runSweeps } from "./sweeps.ts";

export const v1Prefix = "/siteagent/v1";

/** Registers everything; background work starts when the server is ready and ends before it closes. */
export async function v1Routes(app: FastifyInstance, ctx: HubContext): Promise<void> {
  ctx.features.push("synchronize", "long-poll", "orders", "logs", "outputs", "exclusive", "events", "files");
  const held = new HeldCalls();
  let sweeps: Promise<void> | undefined;
  app.addHook("onReady", async () => {
    sweeps = runSweeps(ctx, held.closing);
  });
  // Held calls must answer before the server waits for its connections.
  app.addHook("preClose", () => held.close(ctx.clock));
  app.addHook("onClose", async () => {
    await held.close(ctx.clock);
    await sweeps;
  });
  await app.register(
    async (scope) => {
      scope.addHook("onRoute", (route) => {
        describeRoute(route, v1Prefix);
      });
      guardRoutes(scope, ctx);
      const typed = scope as unknown as V1App;
      agentRoutes(typed, ctx, held);
      jobRoutes(typed, ctx);
      eventRoutes(typed, ctx, held);
      logRoutes(typed, ctx);
      outputRoutes(typed, ctx);
      progressRoutes(typed, ctx);
      fileRoutes(typed, ctx);
      siteRoutes(typed, ctx);
      registryRoutes(typed, ctx);
      tokenRoutes(typed, ctx);
      userRoutes(typed, ctx);
    },
    { prefix: v1Prefix },
  );
}
