import type { PostgresPool, PostgresPoolClient } from "kysely";
import pg from "pg";
import { Fault } from "../../common/fault.ts";
import { StatementNames } from "./postgres-names.ts";

/** A connection that is taken; see `faultingPool`. */
export interface FaultingClient {
  query(text: string, parameters?: readonly unknown[]): Promise<pg.QueryResult>;
  /** As `query`; the server keeps the plan when the statement comes often, so that it must suit any values. */
  queryOften(text: string, parameters: readonly unknown[]): Promise<pg.QueryResult>;
  release(discard?: boolean): void;
}

export interface FaultingPool extends Omit<PostgresPool, "connect"> {
  connect(): Promise<FaultingClient & PostgresPoolClient>;
}

/**
 * pg's pool for Kysely, with failures told apart: what the server says stays a `DatabaseError` with its SQLSTATE, everything else (no
 * connection, a broken one, none free in time) is the fault `STORE`.
 */
export function faultingPool(pool: pg.Pool): FaultingPool {
  const known = new WeakMap<pg.PoolClient, FaultingClient & PostgresPoolClient>();
  return {
    options: pool.options,
    end: () => pool.end(),
    async connect() {
      const client = await told(pool.connect());
      const wrapped = known.get(client) ?? wrap(client);
      known.set(client, wrapped);
      return wrapped;
    },
  };
}

function wrap(client: pg.PoolClient): FaultingClient & PostgresPoolClient {
  // While it is taken the pool does not listen: a connection that breaks between two queries would end the process. The next
  // query fails and tells.
  client.on("error", () => undefined);
  const names = new StatementNames();
  function query(text: string, parameters?: readonly unknown[]): Promise<pg.QueryResult> {
    return told(client.query(text, parameters as unknown[] | undefined));
  }
  return {
    query: query as FaultingClient["query"] & PostgresPoolClient["query"],
    queryOften(text, parameters) {
      const name = names.of(text);
      return told(client.query({ text, values: [...parameters], ...(name === undefined ? {} : { name }) }));
    },
    release: (discard?: boolean) => client.release(discard),
  };
}

async function told<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof pg.DatabaseError) throw error;
    throw new Fault("STORE", "the hub's database does not answer", { cause: error });
  }
}
