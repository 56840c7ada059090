/** Runs the engine once as a program of its own, so that it can be killed: argv[2] is JSON. */
import { systemClock } from "../../../src/common/clock.ts";
import { silentLogger } from "../../../src/common/logger.ts";
import { isToken } from "../../../src/common/token.ts";
import type { ManifestEntry, TransferItem } from "../../../src/transfer/types.ts";
import type { SshSettings } from "../../../src/hosts/ssh/settings.ts";
import { compilePolicy } from "../../../src/transfer/policy.ts";
import type { S3Settings } from "../../../src/transfer/s3/types.ts";
import { bulkAdapter } from "./bulk-adapter.ts";
import { noAccess, startEngine, testCache } from "./setup.ts";
import { storeAt } from "./s3-harness.ts";
import { accessTo } from "./sftp-harness.ts";

export interface ChildTask {
  readonly token: string;
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

const task = JSON.parse(process.argv[2] ?? "") as ChildTask;
if (!isToken(task.token)) throw new Error("no token");
const way = task.ssh && accessTo(task.ssh);
const policy = { sources: task.rules, destinations: task.rules };
const engine = startEngine({
  ...(task.cache && { cache: testCache(task.cache) }),
  ...(task.bulk === true && { adapters: [bulkAdapter(compilePolicy(policy))] }),
  access: way ? () => way.access : noAccess,
  policy,
  ...(task.s3 && { stores: storeAt(task.s3.bucket, task.s3.settings) }),
  retry: { tries: 3, backoff: { baseMs: 1, capMs: 1 } },
});
const outcome = await engine.run(
  {
    ...task,
    token: task.token,
    known: task.known ?? [],
    onFile: async (entry) => {
      process.stdout.write(`file ${JSON.stringify(entry)}\n`);
    },
  },
  { signal: new AbortController().signal, log: silentLogger, clock: systemClock },
);
await engine[Symbol.asyncDispose]();
await way?.[Symbol.asyncDispose]();
process.stdout.write(`done ${JSON.stringify(outcome)}\n`);
