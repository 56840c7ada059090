import type { HubExtension } from "./server.ts";
import { triggerExtension } from "./triggers/extension.ts";
import { v1Routes } from "./v1/routes.ts";

/** What every hub has besides the NMDC contract: triggers and `/siteagent/v1/`. For `startHub({extensions})`. */
export const standardExtensions: readonly HubExtension[] = [triggerExtension, v1Routes];
