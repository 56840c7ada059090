import { silentLogger } from "../../../src/common/logger.ts";
import type { HubContext } from "../../../src/hub/context.ts";
import { standardExtensions } from "../../../src/hub/extensions.ts";
import { type HubOptions, type RunningHub, startHub } from "../../../src/hub/main.ts";
import { type FreshDatabase, freshDatabase } from "../../helpers/engines/postgres.ts";
import { Canaries, leaksInFiles, writeHubCredentials } from "../../helpers/canary.ts";
import { type TemporaryDirectory, temporaryDirectory } from "../../helpers/temporary.ts";

/** A listening hub of its own; ends with its scope. */
export interface TestHub extends RunningHub, AsyncDisposable {
  /** The inside, for what no request can bring about. */
  readonly ctx: HubContext;
  readonly admin: { readonly username: string; readonly password: string };
  readonly site: { readonly id: string; readonly client_id: string; readonly client_secret: string };
}

export async function devHub(options: Partial<HubOptions> = {}): Promise<TestHub> {
  const directory: TemporaryDirectory = await temporaryDirectory();
  const canaries = new Canaries();
  await writeHubCredentials(directory.path, canaries);
  return open({ dataDir: directory.path, ...options }, async () => {
    // The database holds hashes; of the secrets of this hub nothing else is on the disk.
    const leaks = await leaksInFiles(directory.path, canaries, [/^dev-credentials\.json$/]);
    await directory[Symbol.asyncDispose]();
    if (leaks.length > 0) throw new Error(`secrets are where they should not be:\n${leaks.join("\n")}`);
  });
}

/** One hub on either store, for tests that both must pass. */
export async function hubOn(kind: "sqlite" | "postgres", options: Partial<HubOptions> = {}): Promise<TestHub> {
  if (kind === "sqlite") return devHub(options);
  const place = await postgresHubs(1, options);
  const [hub] = place.hubs;
  if (!hub) throw new Error("no hub");
  return { ...hub, [Symbol.asyncDispose]: async () => place[Symbol.asyncDispose]() };
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
    hubs.push(
      await open({
        dataDir: directory.path,
        ...options,
        config: { ...config, ...(options.config as object | undefined) },
      }),
    );
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

async function open(options: Partial<HubOptions>, after?: () => Promise<void>): Promise<TestHub> {
  let ctx: HubContext | undefined;
  const extensions = [(_app: unknown, context: HubContext) => void (ctx = context), ...standardExtensions];
  const hub = await startHub({ dev: true, port: 0, log: silentLogger, extensions, ...options });
  const { admin, site } = hub;
  if (!admin || !site || !ctx) throw new Error("a development hub has credentials");
  return {
    ...hub,
    admin,
    site,
    ctx,
    async [Symbol.asyncDispose]() {
      await hub.close();
      await after?.();
    },
  };
}
