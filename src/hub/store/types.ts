/**
 * The hub's store: one interface over Kysely, two engines. Queries are written once, with the query builder or `sql`
 * templates (values are always parameters); what differs between the engines is in `kind` and in `src/hub/filter`.
 */
import type { Kysely, Transaction } from "kysely";
import type { HubDatabase } from "./tables.ts";

export type StoreKind = "sqlite" | "postgres";

/** Anything that can run queries: the store's own handle or a transaction. */
export type Queries = Kysely<HubDatabase>;

/**
 * Channels of wake-ups. Payloads are hints; the truth is in the tables, so a lost one costs only time. `jobs`: the workflow of a
 * job that can be claimed now; `orders`: the site for which there is an order, a fence, a newer session or a reader of its logs; `registry`: which one.
 */
export type Channel = "jobs" | "events" | "orders" | "registry";

/** Tables that many rows are written to at once. */
export type BulkTable = "jobs" | "job_claims" | "job_tags" | "job_parents" | "operations" | "events";

/** A row as a query builder would take it; texts, numbers and nulls only. */
export type BulkRow = Readonly<Record<string, string | number | null>>;

/** How rows to change are found: by these columns of theirs, always the whole key. */
export const keyColumns = { jobs: ["id"], operations: ["id"], job_tags: ["job_id", "key"] } as const satisfies Partial<
  Record<BulkTable, readonly string[]>
>;

/** The other columns of a row. */
export function columnsToSet(table: keyof typeof keyColumns, row: BulkRow): string[] {
  const keys: readonly string[] = keyColumns[table];
  return Object.keys(row).filter((column) => !keys.includes(column));
}

/** Rows to insert; or for each row what its columns become in the rows with the same key. */
export type Write =
  | { readonly insert: Exclude<BulkTable, "jobs">; readonly rows: readonly BulkRow[] }
  | { readonly update: keyof typeof keyColumns; readonly rows: readonly BulkRow[] };

export interface Tx {
  /** Queries that are asked at the same time cost one round trip on PostgreSQL; they are answered in their order. */
  readonly db: Transaction<HubDatabase>;
  /**
   * Inserts rows that all have the same columns, in order; in one statement, or one that is prepared once. Returns the numbers `n` that
   * jobs got, in order; of other tables nothing.
   */
  insert(table: BulkTable, rows: readonly BulkRow[]): Promise<readonly number[]>;
  /**
   * Inserts and changes rows of several tables; on PostgreSQL in one statement, where events come last. None may depend on another, and no
   * row may be changed twice. The rows of each have the same columns. Done before whatever is asked next or at the end of the
   * transaction: a failure may show only then, and cannot be caught in it.
   */
  write(writes: readonly Write[]): Promise<void>;
  /** Delivered to all listeners of all hub processes after the commit, and not at all without one. */
  notify(channel: Channel, payload: string): void;
}

export interface Store extends AsyncDisposable {
  readonly kind: StoreKind;
  /** For reads and single statements. A single statement is its own durable transaction. */
  readonly db: Queries;
  /**
   * Runs `fn` in one transaction and returns when it is durable. Everything in `fn` goes through `tx.db`; nothing slow may
   * be awaited in it (SQLite has one connection, everybody else waits), and it may run again when PostgreSQL
   * reports a serialisation failure or deadlock: no side effects in it. Throws what `fn` throws, or `STORE`.
   */
  transaction<T>(fn: (tx: Tx) => Promise<T>): Promise<T>;
  /** A wake-up outside a transaction. */
  notify(channel: Channel, payload: string): Promise<void>;
  /**
   * Calls `listener` for every wake-up of `channel`, from this process or another on the same database, until the returned
   * function is called. After a lost connection listeners are called with the payload `""`: look at everything.
   */
  listen(channel: Channel, listener: (payload: string) => void): () => void;
  /** True when the database answers a trivial query within two seconds. */
  healthy(): Promise<boolean>;
  close(): Promise<void>;
}
