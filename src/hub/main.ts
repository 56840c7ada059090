/** Starts a hub process: settings, store, first accounts, server, background work. What the CLI calls. */
import { mkdir } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { AddressInfo } from "node:net";
import { type Clock, systemClock } from "../common/clock.ts";
import { Fault } from "../common/fault.ts";
import { durableReplace, removeUnfinished } from "../common/files.ts";
import type { Logger } from "../common/logger.ts";
import { packageVersion } from "../common/version.ts";
import { newPassword } from "./auth/secrets.ts";
import { type DevCredentials, devCredentials, ensureAdmin, hasUser } from "./bootstrap.ts";
import { type HubConfig, type HubConfigInput, parseHubConfig } from "./config.ts";
import { standardExtensions } from "./extensions.ts";
import { keepHouse } from "./housekeeping.ts";
import { hubSecret, readPreset } from "./load.ts";
import { writeRegistries } from "./nmdc/registries.ts";
import { buildHub, type HubExtension } from "./server.ts";
import { openPostgresStore } from "./store/postgres.ts";
import { openSqliteStore } from "./store/sqlite.ts";
import type { Store } from "./store/types.ts";

export interface HubOptions {
  /** A development hub: SQLite, credentials and all else in `dataDir`; NMDC preset, open reads, no rate limit. */
  readonly dev?: boolean;
  /** Needed with `dev`. */
  readonly dataDir?: string;
  /** The data of a `hub.yaml` (`loadHubFile(…).input`); needed without `dev`, laid over the defaults of `dev` with it. */
  readonly config?: unknown;
  /** Where relative paths of the configuration start; default: the working directory. */
  readonly configDir?: string;
  /** Over the configured one; 0 = any free port. */
  readonly port?: number;
  readonly host?: string;
  readonly log: Logger;
  readonly clock?: Clock;
  /** Default: all that we have (extensions.ts). */
  readonly extensions?: readonly HubExtension[];
}

export interface RunningHub {
  /** Without a slash at the end. */
  readonly url: string;
  /** Only of a development hub. */
  readonly admin: DevCredentials["admin"] | undefined;
  readonly site: DevCredentials["site"] | undefined;
  /** Stops taking requests, ends background work, closes the store. */
  close(): Promise<void>;
}

/** Starts and listens. Throws `CONFIG`, `STORE`, `ALREADY_RUNNING`, `SECRET`. */
export async function startHub(options: HubOptions): Promise<RunningHub> {
  const clock = options.clock ?? systemClock;
  const base = resolve(options.configDir ?? ".");
  if (options.dev && options.dataDir !== undefined) await mkdir(options.dataDir, { recursive: true, mode: 0o700 });
  const config = parseHubConfig(inputOf(options), (name) => readPreset(name, base));
  const store = await openStore(config, base, options.log);
  try {
    return await startOn(store, config, clock, base, options);
  } catch (error) {
    await store.close();
    throw error;
  }
}

async function startOn(
  store: Store,
  config: HubConfig,
  clock: Clock,
  base: string,
  options: HubOptions,
): Promise<RunningHub> {
  await writeRegistries(store, config);
  const dev =
    options.dev && options.dataDir !== undefined
      ? await devCredentials({ store, clock }, join(options.dataDir, "dev-credentials.json"))
      : undefined;
  if (!dev) await firstAdmin(store, clock, config, base, options.log);
  let url = config.url?.replace(/\/+$/, "");
  const app = await buildHub({
    store,
    config,
    clock,
    log: options.log,
    version: packageVersion(),
    extensions: options.extensions ?? standardExtensions,
    baseUrl: () => url ?? "",
  });
  const closing = new AbortController();
  try {
    const host = options.host ?? config.listen.host;
    await app.listen({ host, port: options.port ?? config.listen.port });
    url ??= urlOf(app.server.address() as AddressInfo);
  } catch (error) {
    await app.close();
    throw error;
  }
  const house = keepHouse({ store, clock, log: options.log }, closing.signal);
  options.log.info({ url, store: store.kind }, "the hub listens");
  let closed: Promise<void> | undefined;
  async function close(): Promise<void> {
    closing.abort();
    await app.close();
    await house;
    await store.close();
  }
  return { url, admin: dev?.admin, site: dev?.site, close: () => (closed ??= close()) };
}

function urlOf(address: AddressInfo): string {
  const any = address.address === "0.0.0.0" || address.address === "::";
  const host = any ? "127.0.0.1" : address.family === "IPv6" ? `[${address.address}]` : address.address;
  return `http://${host}:${address.port}`;
}

function inputOf(options: HubOptions): unknown {
  if (!options.dev) return options.config;
  if (options.dataDir === undefined) throw new Fault("USAGE", "a development hub needs a data directory");
  const defaults: HubConfigInput = {
    store: { kind: "sqlite", path: resolve(options.dataDir, "hub.db") },
    presets: ["nmdc"],
    limits: { requests_per_minute: 0 },
  };
  return { ...defaults, ...(typeof options.config === "object" ? options.config : {}) };
}

async function openStore(config: HubConfig, base: string, log: Logger): Promise<Store> {
  if (config.store.kind === "sqlite") {
    const path = resolve(base, config.store.path);
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    return openSqliteStore(path);
  }
  const { url, pool } = config.store;
  return openPostgresStore({
    url: typeof url === "string" ? url : await hubSecret(url, base),
    poolSize: pool,
    log,
  });
}

/** The configured administrator; without a configured password one is made at the first start and left in a file beside the database. */
async function firstAdmin(store: Store, clock: Clock, config: HubConfig, base: string, log: Logger): Promise<void> {
  const { username, password } = config.admin;
  if (password) {
    await ensureAdmin({ store, clock }, username, await hubSecret(password, base));
    return;
  }
  if (await hasUser({ store, clock }, username)) return;
  if (config.store.kind !== "sqlite") {
    const hint = "write a password into a file with mode 0600 and name it: admin: { password: { file: PATH } }";
    throw new Fault("CONFIG", `there is no administrator '${username}' and admin.password is not set`, { hint });
  }
  const file = join(dirname(resolve(base, config.store.path)), "admin-password");
  const made = newPassword();
  await removeUnfinished(file);
  await durableReplace(file, `${made}\n`, 0o600);
  await ensureAdmin({ store, clock }, username, made);
  log.warn({ file, username }, "an administrator was made; the password is in the file");
}
