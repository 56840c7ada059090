import { beforeAll, describe } from "vitest";
import { silentLogger } from "../../src/common/logger.ts";
import { openPostgresStore } from "../../src/hub/store/postgres.ts";
import { openSqliteStore } from "../../src/hub/store/sqlite.ts";
import type { Store } from "../../src/hub/store/types.ts";
import { describeWithEngine } from "../helpers/engines/index.ts";
import { type FreshDatabase, freshDatabase } from "../helpers/engines/postgres.ts";
import { type TemporaryDirectory, temporaryDirectory } from "../helpers/temporary.ts";

/** A place where stores can be opened; on PostgreSQL several at once, as several hub processes would. */
export interface StorePlace extends AsyncDisposable {
  readonly kind: Store["kind"];
  open(): Promise<Store>;
}

/** Runs the same tests for both engines. `place()` gives the place inside a test. */
export function describeStores(title: string, tests: (place: () => StorePlace) => void): void {
  describe(`${title}: sqlite`, () => tests(placeFor(sqlitePlace)));
  describeWithEngine("postgres", `${title}: postgres`, () => tests(placeFor(postgresPlace)));
}

function placeFor(make: () => Promise<StorePlace>): () => StorePlace {
  let place: StorePlace | undefined;
  beforeAll(async () => {
    place = await make();
    return async () => place?.[Symbol.asyncDispose]();
  });
  return () => {
    if (!place) throw new Error("the place of the store is not ready");
    return place;
  };
}

export async function sqlitePlace(): Promise<StorePlace> {
  const directory: TemporaryDirectory = await temporaryDirectory();
  return {
    kind: "sqlite",
    open: () => openSqliteStore(directory.join("hub.db")),
    [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose](),
  };
}

export async function postgresPlace(): Promise<StorePlace> {
  const database: FreshDatabase = await freshDatabase();
  return {
    kind: "postgres",
    open: () => openPostgresStore({ url: database.url, log: silentLogger, poolSize: 8 }),
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  };
}
