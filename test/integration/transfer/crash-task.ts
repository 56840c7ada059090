/** One run of the engine by a task that JSON can carry: in a program of its own that may be killed, or here after that. */
import { type Clock, systemClock } from "../../../src/common/clock.ts";
import { silentLogger } from "../../../src/common/logger.ts";
import type { Token } from "../../../src/common/token.ts";
import type { SshSettings } from "../../../src/hosts/ssh/settings.ts";
import { compilePolicy } from "../../../src/transfer/policy.ts";
import type { S3Settings } from "../../../src/transfer/s3/types.ts";
import type { ManifestEntry, TransferItem, TransferOutcome } from "../../../src/transfer/types.ts";
import { bulkAdapter } from "./bulk-adapter.ts";
import { storeAt } from "./s3-harness.ts";
import { noAccess, startEngine, testCache } from "./setup.ts";
import { accessTo } from "./sftp-harness.ts";

export interface ChildTask {
  readonly token: Token;
  readonly direction: "in" | "out";
  readonly root: string;
  readonly rules: readonly string[];
  readonly items: readonly TransferItem[];
  /** How every host of an `sftp:` URL is reached. */
  readonly ssh?: SshSettings;
  /** What was recorded before. */
  readonly known?: readonly ManifestEntry[];
  /** Files are moved many at a time. */
  readonly bulk?: boolean;
  readonly cache?: { readonly directory: string; readonly maxBytes: number };
  /** The store of `s3:` URLs. */
  readonly s3?: { readonly bucket: string; readonly settings: S3Settings };
}

/** By an engine and connections of its own, as of an agent that was started anew. */
export async function runTask(
  task: ChildTask,
  onFile: (entry: ManifestEntry) => void = () => {},
  clock: Clock = systemClock,
): Promise<TransferOutcome> {
  await using way = task.ssh && accessTo(task.ssh);
  const policy = { sources: task.rules, destinations: task.rules };
  await using engine = startEngine({
    ...(task.cache && { cache: testCache(task.cache) }),
    ...(task.bulk === true && { adapters: [bulkAdapter(compilePolicy(policy))] }),
    access: way ? () => way.access : noAccess,
    policy,
    ...(task.s3 && { stores: storeAt(task.s3.bucket, task.s3.settings) }),
    retry: { tries: 3, backoff: { baseMs: 1, capMs: 1 } },
  });
  const request = { ...task, known: task.known ?? [], onFile: async (entry: ManifestEntry) => onFile(entry) };
  return await engine.run(request, { signal: new AbortController().signal, log: silentLogger, clock });
}
