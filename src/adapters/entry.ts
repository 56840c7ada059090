/** What modules of a site's own adapters import as `siteagent/adapter`: the contracts, and what our own adapters are made with. */
export { z } from "zod";
export type { Adapter, Handle, Probe } from "../common/adapter.ts";
export type { CallContext } from "../common/context.ts";
export { Fault, errnoOf, isFault } from "../common/fault.ts";
export { newToken, type Token } from "../common/token.ts";
export type * from "../hosts/types.ts";
export type { Resources } from "../jobs/app.ts";
export type { AttemptEnd } from "../jobs/states.ts";
export type * from "../launchers/types.ts";
export { runCommand, type SchedulerCommand } from "../schedulers/command.ts";
export { oneLine, renderScript, type ScriptParts } from "../schedulers/script.ts";
export type * from "../schedulers/types.ts";
export type { TransferPolicy } from "../transfer/policy.ts";
export type * from "../transfer/types.ts";
export { contractVersion } from "./types.ts";
export type * from "./types.ts";
