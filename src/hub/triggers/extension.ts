import type { FastifyInstance } from "fastify";
import type { HubContext } from "../context.ts";
import { every } from "../v1/sweeps.ts";
import { fireTriggers, sweepTriggers } from "./triggers.ts";

/** Makes triggers work on this server: at once when a type is assigned, and by a sweep (`triggers_sweep`) for what was missed. */
export function triggerExtension(app: FastifyInstance, ctx: HubContext): void {
  ctx.features.push("triggers");
  ctx.typesAssigned.push((tx, change) => fireTriggers(ctx, tx, change));
  const closing = new AbortController();
  let sweeping: Promise<void> | undefined;
  app.addHook("onReady", async () => {
    const sweep = async (): Promise<void> => {
      const made = await sweepTriggers(ctx);
      if (made > 0) ctx.log.info({ made }, "triggers made jobs for objects that had none");
    };
    sweeping = every(ctx, closing.signal, ctx.config.triggers_sweep, "looking for triggers that were missed", sweep);
  });
  app.addHook("onClose", async () => {
    closing.abort();
    await sweeping;
  });
}
