import { silentLogger } from "../../../src/common/logger.ts";
import { type HubOptions, type RunningHub, startHub } from "../../../src/hub/main.ts";
import { type FreshDatabase, freshDatabase } from "../../helpers/engines/postgres.ts";
import { type TemporaryDirectory, temporaryDirectory } from "../../helpers/temporary.ts";

/** A listening hub of its own; ends with its scope. */
export interface TestHub extends RunningHub, AsyncDisposable {
  readonly admin: { readonly username: string; readonly password: string };
  readonly site: { readonly id: string; readonly client_id: string; readonly client_secret: string };
}

export async function devHub(options: Partial<HubOptions> = {}): Promise<TestHub> {
  const directory: TemporaryDirectory = await temporaryDirectory();
  const hub = await startHub({ dev: true, dataDir: directory.path, port: 0, log: silentLogger, ...options });
  return disposable(hub, async () => directory[Symbol.asyncDispose]());
}

/** `count` hubs on one PostgreSQL, with the same development credentials. */
export async function postgresHubs(
  count: number,
  options: Partial<HubOptions> = {},
): Promise<{ hubs: TestHub[] } & AsyncDisposable> {
  const directory: TemporaryDirectory = await temporaryDirectory();
  const database: FreshDatabase = await freshDatabase();
  const config = { store: { kind: "postgres", url: database.url, pool: 6 } };
  const hubs: TestHub[] = [];
  for (let i = 0; i < count; i++) {
    const hub = await startHub({ dev: true, dataDir: directory.path, port: 0, log: silentLogger, config, ...options });
    hubs.push(disposable(hub, () => Promise.resolve()));
  }
  return {
    hubs,
    async [Symbol.asyncDispose]() {
      await Promise.all(hubs.map((hub) => hub.close()));
      await database[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
}

function disposable(hub: RunningHub, after: () => Promise<void>): TestHub {
  const { admin, site } = hub;
  if (!admin || !site) throw new Error("a development hub has credentials");
  return {
    ...hub,
    admin,
    site,
    async [Symbol.asyncDispose]() {
      await hub.close();
      await after();
    },
  };
}
