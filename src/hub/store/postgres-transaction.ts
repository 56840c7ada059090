/**
 * One transaction on one connection. Statements are sent as they come, without waiting for the answers to those before; what is only
 * written goes with the end of the transaction, so that locks are held for as long as the server needs and no round trip more.
 */
import {
  type CompiledQuery,
  type DatabaseConnection,
  DefaultQueryExecutor,
  type Dialect,
  PostgresAdapter,
  PostgresQueryCompiler,
  type QueryResult,
  Transaction,
} from "kysely";
import type { FaultingClient, FaultingPool } from "./postgres-pool.ts";
import type { HubDatabase } from "./tables.ts";

const compiler = new PostgresQueryCompiler();
const adapter = new PostgresAdapter();
/**
 * What a transaction asks is found by an index each time. A plan is kept for as long as the statistics are, while a bulk request can make
 * a table of ten rows one of a million: reading the whole of it must not be such a plan.
 */
const beginText =
  "begin; set local enable_seqscan = off; set local enable_hashjoin = off; set local enable_mergejoin = off";

/** Commits what `work` did and returns its result; nothing of it is there when this throws. */
export async function inTransaction<T>(
  pool: FaultingPool,
  dialect: Dialect,
  work: (transaction: PostgresTransaction) => Promise<T>,
): Promise<T> {
  const client = await pool.connect();
  const transaction = new PostgresTransaction(client, dialect);
  let usable = false;
  try {
    const result = await work(transaction);
    await transaction.commit();
    usable = true;
    return result;
  } catch (error) {
    usable = await transaction.rollback();
    throw error;
  } finally {
    client.release(!usable);
  }
}

export class PostgresTransaction implements DatabaseConnection {
  /** Queries of one caller may be asked at the same time: they are answered in their order. */
  readonly db: Transaction<HubDatabase>;
  readonly #client: FaultingClient;
  #begun: Promise<unknown> | undefined;
  /** BEGIN was answered. */
  #open = false;
  /** Statements that wait for that answer; those that come later wait behind them. */
  #waiting = 0;
  #over = false;
  #deferred: Statement[] = [];
  readonly #sent: Promise<unknown>[] = [];

  constructor(client: FaultingClient, dialect: Dialect) {
    this.#client = client;
    this.db = new Transaction<HubDatabase>({
      config: { dialect },
      dialect,
      driver: dialect.createDriver(),
      executor: new DefaultQueryExecutor(compiler, adapter, { provideConnection: (consumer) => consumer(this) }),
    });
  }

  async executeQuery<Row>(query: CompiledQuery): Promise<QueryResult<Row>> {
    this.#assertGoesOn();
    const begun = this.#begin();
    // Behind a BEGIN that failed a statement stands alone: only what changes nothing is sent before the answer.
    const harmless = this.#deferred.length === 0 && /^\s*select\b/i.test(query.sql);
    if (this.#waiting > 0 || (!this.#open && !harmless)) {
      this.#waiting++;
      await begun;
      this.#waiting--;
    }
    this.#sendDeferred();
    const [result] = await Promise.all([this.#client.queryOften(query.sql, query.parameters), begun]);
    const { command, rowCount } = result;
    const changes = ["INSERT", "UPDATE", "DELETE", "MERGE"].includes(command);
    return { rows: result.rows as Row[], ...(changes ? { numAffectedRows: BigInt(rowCount ?? 0) } : {}) };
  }

  /** Only with a cursor, which nobody of ours has. */
  streamQuery<Row>(): AsyncIterableIterator<QueryResult<Row>> {
    throw new Error("rows are not streamed inside a transaction");
  }

  /** Is done before whatever is asked next, or at the end. That it failed shows then. */
  defer(statement: Statement): void {
    this.#assertGoesOn();
    this.#deferred.push(statement);
  }

  /** Throws the first failure since the last answer that was waited for; then nothing was committed. */
  async commit(): Promise<void> {
    const idle = this.#begun === undefined && this.#deferred.length === 0;
    if (!idle && !this.#open) await this.#begin();
    this.#over = true;
    if (idle) return;
    this.#sendDeferred();
    const ended = this.#client.query("commit");
    const outcomes = await Promise.allSettled([...this.#sent, ended]);
    const failed = outcomes.find((outcome) => outcome.status === "rejected");
    if (failed) throw failed.reason;
    // So PostgreSQL ends a transaction in which a statement had failed, whoever caught that.
    if ((await ended).command !== "COMMIT") throw new Error("a transaction was undone: a statement of it had failed");
  }

  /** True when the connection can be used again. */
  async rollback(): Promise<boolean> {
    this.#over = true;
    if (this.#begun === undefined) return true;
    try {
      await Promise.allSettled(this.#sent);
      await this.#client.query("rollback");
      return true;
    } catch {
      return false;
    }
  }

  #begin(): Promise<unknown> {
    this.#begun ??= this.#client.query(beginText).then(() => (this.#open = true));
    return this.#begun;
  }

  #sendDeferred(): void {
    for (const { text, parameters } of this.#deferred.splice(0)) {
      const answer = this.#client.queryOften(text, parameters);
      // Heard at the end.
      answer.catch(() => undefined);
      this.#sent.push(answer);
    }
  }

  #assertGoesOn(): void {
    if (this.#over) throw new Error("a statement came after the end of its transaction");
  }
}

export interface Statement {
  readonly text: string;
  readonly parameters: readonly unknown[];
}
