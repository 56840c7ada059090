/**
 * The store of many hub processes: one pool, and one client of its own that listens. A wake-up is NOTIFY inside the
 * transaction, so it arrives after the commit; when the listening connection breaks, it is made again and everybody looks.
 */
import { EventEmitter } from "node:events";
import { type Dialect, Kysely, PostgresDialect, sql } from "kysely";
import pg from "pg";
import type { Logger } from "../../common/logger.ts";
import { isRetryable, storeFault } from "./errors.ts";
import { migrate } from "./migrations.ts";
import { insertRows, writeRows } from "./postgres-bulk.ts";
import { type FaultingPool, faultingPool } from "./postgres-pool.ts";
import { inTransaction } from "./postgres-transaction.ts";
import type { HubDatabase } from "./tables.ts";
import type { Channel, Store, Tx } from "./types.ts";

export interface PostgresOptions {
  readonly url: string;
  readonly log: Logger;
  /** Connections of the pool, besides the listening one. */
  readonly poolSize?: number;
  /** PostgreSQL schema to live in; default `public`. */
  readonly schema?: string;
}

const pgChannel = "siteagent_hub";
const connectTimeoutMs = 5_000;
const notifyText = "SELECT pg_notify($1, notice) FROM unnest($2::text[]) AS notice";
/** No query of a hub takes as long; one that does (a filter over everything) is ended and refused. */
const longestQueryMs = 60_000;
const relistenAfterMs = 1_000;
/** Deadlocks and serialisation failures are rare and short. */
const transactionTries = 5;

/** bigint columns hold times and counters below 2^53. */
const types = {
  getTypeParser: (oid: number, format?: "text" | "binary") =>
    oid === 20 ? Number : (pg.types.getTypeParser(oid, format as "text") as (text: string) => unknown),
} as pg.CustomTypesConfig;

function sessionOptions(schema: string | undefined): string {
  // Filters are cheap to run and look dear to the planner: compiling them takes longer than they do.
  // The same holds for helpers of a query: starting them takes longer than any query of ours.
  const settings = [
    "jit=off",
    "max_parallel_workers_per_gather=0",
    `statement_timeout=${longestQueryMs}`,
    `idle_in_transaction_session_timeout=${longestQueryMs}`,
  ];
  if (schema !== undefined) settings.push(`search_path=${schema}`);
  return settings.map((setting) => `-c ${setting}`).join(" ");
}

/** Connects, brings the tables up to date and listens. Throws `STORE`. */
export async function openPostgresStore(options: PostgresOptions): Promise<Store> {
  const settings: pg.PoolConfig = {
    connectionString: options.url,
    max: options.poolSize ?? 10,
    connectionTimeoutMillis: connectTimeoutMs,
    types,
    application_name: "siteagent hub",
    options: sessionOptions(options.schema),
    // A statement is sent when it is asked for, not when the one before is answered.
    pipeline: true,
  };
  const pool = new pg.Pool(settings);
  pool.on("error", (err) => options.log.warn({ err }, "an idle database connection broke"));
  const faulting = faultingPool(pool);
  const dialect = new PostgresDialect({ pool: faulting });
  const db = new Kysely<HubDatabase>({ dialect });
  try {
    await migrate(db, "postgres");
    const store = new PostgresStore({ db, pool: faulting, dialect, settings, log: options.log });
    await store.startListening();
    return store;
  } catch (error) {
    await db.destroy();
    throw storeFault(error);
  }
}

interface Parts {
  readonly db: Kysely<HubDatabase>;
  readonly pool: FaultingPool;
  readonly dialect: Dialect;
  /** Of connections. */
  readonly settings: pg.ClientConfig;
  readonly log: Logger;
}

class PostgresStore implements Store {
  readonly kind = "postgres";
  readonly db: Kysely<HubDatabase>;
  readonly #pool: FaultingPool;
  readonly #dialect: Dialect;
  readonly #settings: pg.ClientConfig;
  readonly #log: Logger;
  readonly #emitter = new EventEmitter().setMaxListeners(0);
  #listener: pg.Client | undefined;
  #relisten: NodeJS.Timeout | undefined;
  #closed = false;

  constructor({ db, pool, dialect, settings, log }: Parts) {
    this.db = db;
    this.#pool = pool;
    this.#dialect = dialect;
    this.#settings = settings;
    this.#log = log;
  }

  async startListening(): Promise<void> {
    const client = new pg.Client(this.#settings);
    client.on("notification", (message) => this.#arrived(message.payload ?? ""));
    client.on("error", (err) => this.#lost(client, err));
    client.on("end", () => this.#lost(client, undefined));
    await client.connect();
    await client.query(`LISTEN ${pgChannel}`);
    this.#listener = client;
  }

  async transaction<T>(fn: (tx: Tx) => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.#once(fn);
      } catch (error) {
        if (!isRetryable(error) || tries >= transactionTries) throw storeFault(error);
      }
    }
  }

  async notify(channel: Channel, payload: string): Promise<void> {
    await sql`SELECT pg_notify(${pgChannel}, ${`${channel} ${payload}`})`.execute(this.db);
  }

  listen(channel: Channel, listener: (payload: string) => void): () => void {
    this.#emitter.on(channel, listener);
    return () => void this.#emitter.off(channel, listener);
  }

  async healthy(): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => resolve(false), 2_000);
    sql`SELECT 1`.execute(this.db).then(
      () => resolve(true),
      () => resolve(false),
    );
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#relisten);
    this.#emitter.removeAllListeners();
    await this.#listener?.end().catch(() => undefined);
    await this.db.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #once<T>(fn: (tx: Tx) => Promise<T>): Promise<T> {
    const notices = new Set<string>();
    return inTransaction(this.#pool, this.#dialect, async (transaction) => {
      const result = await fn({
        db: transaction.db,
        insert: (table, rows) => insertRows(transaction, table, rows),
        write: async (writes) => writeRows(transaction, writes),
        notify: (channel, payload) => void notices.add(`${channel} ${payload}`),
      });
      if (notices.size > 0) transaction.defer({ text: notifyText, parameters: [pgChannel, [...notices]] });
      return result;
    });
  }

  #arrived(text: string): void {
    const space = text.indexOf(" ");
    if (space > 0) this.#emitter.emit(text.slice(0, space), text.slice(space + 1));
  }

  #lost(client: pg.Client, err: Error | undefined): void {
    if (this.#closed || this.#relisten || (this.#listener && this.#listener !== client)) return;
    this.#log.warn({ err }, "the listening database connection broke; connecting again");
    this.#listener = undefined;
    client.end().catch(() => undefined);
    this.#retryListening();
  }

  #retryListening(): void {
    this.#relisten = setTimeout(() => {
      this.startListening()
        .then(() => {
          this.#relisten = undefined;
          for (const channel of this.#emitter.eventNames()) this.#emitter.emit(channel, "");
        })
        .catch(() => {
          if (!this.#closed) this.#retryListening();
        });
    }, relistenAfterMs);
  }
}
