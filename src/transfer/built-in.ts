import { createHttpTransfer } from "./http/index.ts";
import { createLocalTransfer } from "./local/index.ts";
import type { TransferPolicy } from "./policy.ts";
import type { TransferAdapter } from "./types.ts";

/** Makes an adapter; nothing runs before its first verb. */
export type TransferFactory = (options: { readonly policy: TransferPolicy }) => TransferAdapter;

/** The adapters that come with siteagent, by the name of their folder. */
export const builtInTransfers = { local: createLocalTransfer, http: createHttpTransfer } as const satisfies Record<
  string,
  TransferFactory
>;
