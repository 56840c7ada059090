/**
 * The store of one machine: node:sqlite under Kysely. One connection, one writer at a time (Kysely queues), write-ahead log
 * with a sync at every commit. The file belongs to one hub process; a second opener is refused.
 */
import { EventEmitter } from "node:events";
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";
import { Kysely, SqliteDialect, sql, type Transaction } from "kysely";
import { Fault } from "../../common/fault.ts";
import { canonicalJson } from "../filter/canonical.ts";
import { regexTest } from "../filter/regex.ts";
import { storeFault } from "./errors.ts";
import { migrate } from "./migrations.ts";
import type { HubDatabase } from "./tables.ts";
import {
  type BulkRow,
  type BulkTable,
  type Channel,
  columnsToSet,
  keyColumns,
  type Store,
  type Tx,
  type Write,
} from "./types.ts";

/** Prepared statements that are kept; the hub's own queries are a few hundred. */
const statementsKept = 500;
/** Transactions that wait join a commit for this long, milliseconds; readers wait meanwhile. */
const groupMs = 10;

/**
 * Pages of 4 KiB in the write-ahead log after which a commit brings them into the database: a job changes the same pages of its indexes
 * many times, and each is written once per checkpoint. 32 MiB are read in a moment after a crash.
 */
const checkpointPages = 8_000;

/** Opens (and makes) the database at `path`; `:memory:` for a store that ends with the process. Throws `STORE`, `ALREADY_RUNNING`. */
export async function openSqliteStore(path: string): Promise<Store> {
  const database = openDatabase(path);
  const statements = new Statements(database);
  const db = new Kysely<HubDatabase>({ dialect: new SqliteDialect({ database: adapter(database, statements) }) });
  try {
    await migrate(db, "sqlite");
  } catch (error) {
    await db.destroy();
    throw storeFault(error);
  }
  return new SqliteStore(db, statements);
}

function openDatabase(path: string): DatabaseSync {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path, { timeout: 1_000 });
    database.exec("PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;");
    database.exec(`PRAGMA wal_autocheckpoint=${checkpointPages}; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-65536;`);
    database.exec("BEGIN IMMEDIATE; COMMIT;");
  } catch (error) {
    database?.close();
    const busy = typeof error === "object" && error !== null && "errcode" in error && error.errcode === 5;
    if (busy) throw new Fault("ALREADY_RUNNING", `another hub uses the database '${path}'`, { cause: error });
    throw new Fault("STORE", `the hub's database '${path}' cannot be opened`, { cause: error });
  }
  database.function("json_canonical", { deterministic: true }, (text) => canonicalJson(String(text)));
  database.function("regex_test", { deterministic: true }, (pattern, text) =>
    regexTest(String(pattern), String(text)) ? 1 : 0,
  );
  return database;
}

interface Prepared {
  readonly statement: StatementSync;
  /** It answers with rows. */
  readonly reader: boolean;
}

/** Prepared statements by their text. */
class Statements {
  readonly #database: DatabaseSync;
  readonly #kept = new Map<string, Prepared>();

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  get(text: string): StatementSync {
    return this.prepared(text).statement;
  }

  prepared(text: string): Prepared {
    const known = this.#kept.get(text);
    if (known) return known;
    const statement = this.#database.prepare(text);
    const made = { statement, reader: statement.columns().length > 0 };
    if (this.#kept.size >= statementsKept) this.#kept.clear();
    this.#kept.set(text, made);
    return made;
  }

  clear(): void {
    this.#kept.clear();
  }
}

/** What Kysely's SQLite dialect wants, on node:sqlite. */
function adapter(database: DatabaseSync, statements: Statements) {
  return {
    close: () => {
      statements.clear();
      database.close();
    },
    prepare: (text: string) => {
      const { statement, reader } = statements.prepared(text);
      return {
        reader,
        all: (parameters: readonly unknown[]) => statement.all(...(parameters as SQLInputValue[])),
        run: (parameters: readonly unknown[]) => statement.run(...(parameters as SQLInputValue[])),
        iterate: (parameters: readonly unknown[]) =>
          database.prepare(text).iterate(...(parameters as SQLInputValue[])) as IterableIterator<unknown>,
      };
    },
  };
}

/** A transaction that waits for its turn. */
interface Work {
  /** Returns how its caller hears of the result. */
  readonly run: (tx: Tx) => Promise<() => void>;
  readonly reject: (error: unknown) => void;
}

class SqliteStore implements Store {
  readonly kind = "sqlite";
  readonly db: Kysely<HubDatabase>;
  readonly #statements: Statements;
  readonly #emitter = new EventEmitter().setMaxListeners(0);
  readonly #waiting: Work[] = [];
  #committing = false;

  constructor(db: Kysely<HubDatabase>, statements: Statements) {
    this.db = db;
    this.#statements = statements;
  }

  transaction<T>(fn: (tx: Tx) => Promise<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.#waiting.push({
      run: async (tx) => {
        const result = await fn(tx);
        return () => resolve(result);
      },
      reject,
    });
    if (!this.#committing) void this.#commitWaiting();
    return promise;
  }

  /**
   * Syncing a commit costs more than all else, so transactions that wait share one: each in a savepoint of its own, one after the
   * other. Nobody hears of success or failure before the commit: what one saw of another's work is then durable.
   */
  async #commitWaiting(): Promise<void> {
    this.#committing = true;
    while (this.#waiting.length > 0) {
      const told: (() => void)[] = [];
      const group: Work[] = [];
      let broken: unknown;
      try {
        await this.db.transaction().execute(async (db) => {
          const until = performance.now() + groupMs;
          do {
            const work = this.#waiting.shift();
            if (!work) break;
            group.push(work);
            told.push(
              await this.#inSavepoint(db, work).catch((error: unknown) => {
                broken = error;
                throw error;
              }),
            );
          } while (performance.now() < until);
        });
        for (const tell of told) tell();
      } catch (error) {
        for (const { reject } of group) reject(storeFault(broken ?? error));
      }
    }
    this.#committing = false;
  }

  /** Runs one transaction of a group; returns what is to be done when the group is durable. Throws when all of the group is lost. */
  async #inSavepoint(db: Transaction<HubDatabase>, work: Work): Promise<() => void> {
    const notices: [Channel, string][] = [];
    this.#statements.get("SAVEPOINT work").run();
    try {
      const tell = await work.run({
        db,
        insert: async (table, rows) => this.#insert(table, rows),
        write: async (writes) => {
          for (const write of writes) this.#write(write);
        },
        notify: (channel, payload) => void notices.push([channel, payload]),
      });
      this.#statements.get("RELEASE work").run();
      return () => {
        tell();
        for (const [channel, payload] of notices) this.#emit(channel, payload);
      };
    } catch (error) {
      try {
        this.#statements.get("ROLLBACK TO work").run();
        this.#statements.get("RELEASE work").run();
      } catch {
        // SQLite has ended the whole transaction: the disk is full or broken.
        throw error;
      }
      return () => work.reject(storeFault(error));
    }
  }

  async notify(channel: Channel, payload: string): Promise<void> {
    this.#emit(channel, payload);
    await Promise.resolve();
  }

  listen(channel: Channel, listener: (payload: string) => void): () => void {
    this.#emitter.on(channel, listener);
    return () => void this.#emitter.off(channel, listener);
  }

  async healthy(): Promise<boolean> {
    try {
      await sql`SELECT 1`.execute(this.db);
      return true;
    } catch {
      return false;
    }
  }

  async close(): Promise<void> {
    this.#emitter.removeAllListeners();
    await this.db.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Straight to the one connection, which is the caller's transaction's. */
  #insert(table: BulkTable, rows: readonly BulkRow[]): number[] {
    const [first] = rows;
    if (!first) return [];
    const columns = Object.keys(first);
    const holes = columns.map(() => "?").join(", ");
    const insert = this.#statements.get(`INSERT INTO ${table} (${columns.join(", ")}) VALUES (${holes})`);
    const numbers = rows.map((row) =>
      Number(insert.run(...columns.map((column) => row[column] ?? null)).lastInsertRowid),
    );
    return table === "jobs" ? numbers : [];
  }

  #write(write: Write): void {
    const { rows } = write;
    const [first] = rows;
    if (!first) return;
    if ("insert" in write) {
      this.#insert(write.insert, rows);
      return;
    }
    const keys = keyColumns[write.update];
    const columns = columnsToSet(write.update, first);
    const set = columns.map((column) => `${column} = ?`).join(", ");
    const same = keys.map((column) => `${column} = ?`).join(" AND ");
    const update = this.#statements.get(`UPDATE ${write.update} SET ${set} WHERE ${same}`);
    for (const row of rows) update.run(...[...columns, ...keys].map((column) => row[column] ?? null));
  }

  /** Like PostgreSQL's: never inside the caller's turn. */
  #emit(channel: Channel, payload: string): void {
    setImmediate(() => this.#emitter.emit(channel, payload));
  }
}
