/** Hubs for the tests of /siteagent/v1/: listening sockets over a real store, with users of every role and sites. */
import { describe } from "vitest";
import type { FastifyInstance } from "fastify";
import { type Clock, systemClock } from "../../../src/common/clock.ts";
import { silentLogger } from "../../../src/common/logger.ts";
import { RecentLog } from "../../../src/common/recent-log.ts";
import { type HubConfigInput, parseHubConfig } from "../../../src/hub/config.ts";
import type { HubContext } from "../../../src/hub/context.ts";
import { standardExtensions } from "../../../src/hub/extensions.ts";
import { buildHub } from "../../../src/hub/server.ts";
import { openPostgresStore } from "../../../src/hub/store/postgres.ts";
import { openSqliteStore } from "../../../src/hub/store/sqlite.ts";
import type { Store } from "../../../src/hub/store/types.ts";
import { createHubClient, type HubClient } from "../../../src/sdk/client.ts";
import { type Role, roles } from "../../../src/wire/user-api.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { freshDatabase } from "../../helpers/engines/postgres.ts";

export type StoreKind = "sqlite" | "postgres";

/** The same tests on both stores. */
export function onBothStores(title: string, tests: (kind: StoreKind) => void): void {
  describe(`${title} (sqlite)`, () => tests("sqlite"));
  describeWithEngine("postgres", `${title} (postgres)`, () => tests("postgres"));
}

export interface TestHub extends AsyncDisposable {
  readonly url: string;
  readonly ctx: HubContext;
  readonly app: FastifyInstance;
  /** What it has logged lately. */
  readonly log: RecentLog;
  /** A client with the role of its user: `viewer`, `submitter`, `operator`, `admin`, or any name given. */
  client(role: Role, name?: string): Promise<HubClient>;
  /** The bearer token of a site (made when there is none yet). */
  siteToken(site: string): Promise<string>;
  userToken(role: Role, name?: string): Promise<string>;
}

/** One hub on a store of its own, or on the database of another (SQLite: a file, when the other has closed). */
export async function startTestHub(
  kind: StoreKind,
  options: { readonly url?: string; readonly clock?: Clock } = {},
): Promise<TestHub & { databaseUrl: string }> {
  await using stack = new AsyncDisposableStack();
  const database = kind === "postgres" && options.url === undefined ? stack.use(await freshDatabase()) : undefined;
  const databaseUrl = options.url ?? database?.url ?? "";
  const store = stack.use(await openStore(kind, databaseUrl));
  const hub = await serve(store, options.clock ?? systemClock);
  stack.defer(() => hub.app.close());
  const clients = stack.use(new AsyncDisposableStack());
  const owned = stack.move();
  return {
    ...hub,
    databaseUrl,
    async client(role, name = role) {
      const client = createHubClient({ url: hub.url, token: await hub.userToken(role, name) });
      clients.use(client);
      return client;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function openStore(kind: StoreKind, url: string): Promise<Store> {
  return kind === "sqlite" ? openSqliteStore(url || ":memory:") : openPostgresStore({ url, log: silentLogger });
}

async function serve(store: Store, clock: Clock): Promise<Omit<TestHub, "client" | typeof Symbol.asyncDispose>> {
  const input: HubConfigInput = {
    store: { kind: "sqlite", path: ":memory:" },
    limits: { requests_per_minute: 0 },
    compat: { anonymous_types: true, anonymous_reads: true },
    triggers_sweep: "200ms",
  };
  let url = "";
  let context: HubContext | undefined;
  const log = new RecentLog(silentLogger);
  const app = await buildHub({
    store,
    config: parseHubConfig(input, () => ({})),
    clock,
    log,
    version: "0.0.0",
    extensions: [(_app, ctx) => void (context = ctx), ...standardExtensions],
    baseUrl: () => url,
  });
  url = await app.listen({ host: "127.0.0.1", port: 0 });
  if (!context) throw new Error("the hub made no context");
  const ctx = context;
  return {
    url,
    ctx,
    app,
    log,
    async userToken(role, name = role) {
      await addUser(store, name, role);
      return ctx.keys.sign(`user:${name}`);
    },
    async siteToken(site) {
      await addSite(store, site);
      return ctx.keys.sign(`client:c-${site}`);
    },
  };
}

async function addUser(store: Store, username: string, role: Role): Promise<void> {
  if (!roles.includes(role)) throw new Error(`no role '${role}'`);
  await store.db
    .insertInto("users")
    .values({
      username,
      password_hash: "-",
      email: null,
      full_name: null,
      site_admin: "[]",
      disabled: 0,
      role,
      created_at: Date.now(),
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

async function addSite(store: Store, id: string): Promise<void> {
  const now = Date.now();
  const doc = JSON.stringify({ id, capability_ids: [] });
  await store.db
    .insertInto("sites")
    .values({ id, doc, created_at: now, info: null, last_seen_at: null, session_epoch: 0, instance_id: null })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  await store.db
    .insertInto("site_clients")
    .values({ id: `c-${id}`, site_id: id, secret_hash: "-", created_at: now })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}
