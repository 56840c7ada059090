/** One call of the Globus adapter as a program of its own, so that it can be killed: argv[2] is JSON. */
import { systemClock } from "../../../src/common/clock.ts";
import { silentLogger } from "../../../src/common/logger.ts";
import { isToken } from "../../../src/common/token.ts";
import { createGlobusTransfer } from "../../../src/transfer/globus/index.ts";
import type { GlobusSettings } from "../../../src/transfer/globus/types.ts";
import { compilePolicy } from "../../../src/transfer/policy.ts";

export interface GlobusChildTask {
  readonly settings: GlobusSettings;
  readonly url: string;
  readonly directory: string;
  readonly token: string;
}

const { settings, url, directory, token } = JSON.parse(process.argv[2] ?? "") as GlobusChildTask;
if (!isToken(token)) throw new Error("no token");
const policy = compilePolicy({ sources: [url], destinations: [] });
const adapter = createGlobusTransfer({ policy, globus: settings, pace: { firstMs: 5, longestMs: 50 } });
const context = { signal: new AbortController().signal, log: silentLogger, clock: systemClock };
const files = await adapter.list(url, "directory", context);
const arrived = async ({ path }: { readonly path: string }): Promise<void> => {
  process.stdout.write(`arrived ${path}\n`);
};
await adapter.bulk?.fetch(url, files, directory, arrived, context, { token });
await adapter[Symbol.asyncDispose]();
process.stdout.write("done\n");
