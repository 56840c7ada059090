import { createGlobusTransfer } from "./globus/index.ts";
import type { GlobusSettings } from "./globus/types.ts";
import { createHttpTransfer } from "./http/index.ts";
import { createLocalTransfer } from "./local/index.ts";
import type { TransferPolicy } from "./policy.ts";
import { createRsyncTransfer } from "./rsync/index.ts";
import { createS3Transfer } from "./s3/index.ts";
import type { FindStore } from "./s3/types.ts";
import { createSftpTransfer } from "./sftp/index.ts";
import type { FindAccess } from "./sftp/place.ts";
import type { TransferAdapter } from "./types.ts";

/** Makes an adapter; nothing runs before its first verb. */
export type TransferFactory = (options: {
  readonly policy: TransferPolicy;
  /** How hosts of URLs are reached by SSH. */
  readonly access: FindAccess;
  /** The site's collection, where it has one. */
  readonly globus?: GlobusSettings | undefined;
  /** The object stores of the site. */
  readonly stores: FindStore;
}) => TransferAdapter;

/** The adapters that come with siteagent, by the name of their folder. */
export const builtInTransfers = {
  local: createLocalTransfer,
  http: createHttpTransfer,
  sftp: createSftpTransfer,
  globus: createGlobusTransfer,
  rsync: createRsyncTransfer,
  s3: createS3Transfer,
} as const satisfies Record<string, TransferFactory>;
