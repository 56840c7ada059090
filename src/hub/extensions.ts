import type { HubExtension } from "./server.ts";
import { triggerExtension } from "./triggers/extension.ts";
import { v1Routes } from "./v1/routes.ts";

/** The NMDC contract alone, with its triggers: a hub that behaves like the Runtime itself, to try clients against. */
export const plainExtensions: readonly HubExtension[] = [triggerExtension];

/** What every hub has besides the NMDC contract: triggers and `/siteagent/v1/`. For `startHub({extensions})`. */
export const standardExtensions: readonly HubExtension[] = [triggerExtension, v1Routes];
