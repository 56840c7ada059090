/** docs/openapi.json: the API of a hub with all that it has, as `GET /openapi.json` answers it. A change in it is a change of the API. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../src/common/clock.ts";
import { silentLogger } from "../../src/common/logger.ts";
import { packageVersion } from "../../src/common/version.ts";
import { parseHubConfig } from "../../src/hub/config.ts";
import { standardExtensions } from "../../src/hub/extensions.ts";
import { buildHub } from "../../src/hub/server.ts";
import { openSqliteStore } from "../../src/hub/store/sqlite.ts";
import type { GeneratedFile } from "../lib/generated.ts";

export async function files(): Promise<readonly GeneratedFile[]> {
  return [{ path: "docs/openapi.json", content: `${JSON.stringify(sorted(await document()), null, 2)}\n` }];
}

async function document(): Promise<object> {
  const directory = await mkdtemp(join(tmpdir(), "sa-openapi-"));
  try {
    const path = join(directory, "hub.db");
    await using store = await openSqliteStore(path);
    const config = parseHubConfig({ store: { kind: "sqlite", path }, docs: false }, () => ({}));
    const hub = await buildHub({
      store,
      config,
      clock: systemClock,
      log: silentLogger,
      version: packageVersion(),
      extensions: standardExtensions,
      baseUrl: () => "",
    });
    try {
      return hub.swagger();
    } finally {
      await hub.close();
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Paths by name, so that the order in which routes are registered makes no difference. */
function sorted(document: object): object {
  const { paths = {}, ...rest } = document as { paths?: Record<string, unknown> };
  const entries = Object.entries(paths).toSorted(([one], [other]) => (one < other ? -1 : 1));
  return { ...rest, paths: Object.fromEntries(entries) };
}
