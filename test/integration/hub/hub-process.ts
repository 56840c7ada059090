/** A hub in a process of its own, to be killed: `node hub-process.ts DATADIR` prints its credentials as one line. */
import { silentLogger } from "../../../src/common/logger.ts";
import { startHub } from "../../../src/hub/main.ts";

const hub = await startHub({ dev: true, dataDir: process.argv[2] ?? ".", port: 0, log: silentLogger });
process.stdout.write(`${JSON.stringify({ url: hub.url, admin: hub.admin, site: hub.site })}\n`);
