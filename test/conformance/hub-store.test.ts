import { sql } from "kysely";
import { expect, test } from "vitest";
import { isFault } from "../../src/common/fault.ts";
import { silentLogger } from "../../src/common/logger.ts";
import { systemClock } from "../../src/common/clock.ts";
import { changeJob, createJobs, lockJob, observeJob, readJobs } from "../../src/hub/jobs/lifecycle.ts";
import { isUniqueViolation } from "../../src/hub/store/errors.ts";
import { appendEvents, readEvents } from "../../src/hub/store/events.ts";
import { migrate, migrations } from "../../src/hub/store/migrations.ts";
import { openPostgresStore } from "../../src/hub/store/postgres.ts";
import { together } from "../../src/hub/store/together.ts";
import type { JobRow } from "../../src/hub/store/tables.ts";
import type { Store, Tx } from "../../src/hub/store/types.ts";
import { describeWithEngine } from "../helpers/engines/index.ts";
import { freshDatabase } from "../helpers/engines/postgres.ts";
import { waitFor } from "../helpers/wait.ts";
import { describeStores } from "./hub-stores.ts";

const job = { workflow: { id: "w" }, config: {}, actor: "user:a" };

async function violates(action: Promise<unknown>): Promise<boolean> {
  try {
    await action;
    return false;
  } catch (error) {
    if (!isUniqueViolation(error)) throw error;
    return true;
  }
}

async function counter(store: Store): Promise<number> {
  const row = await store.db.selectFrom("settings").select("value").where("name", "=", "counter").executeTakeFirst();
  return Number(row?.value ?? 0);
}

describeStores("the hub's store", (place) => {
  test("what a transaction did is there after it, also for the next opener, and nothing of one that failed", async () => {
    {
      await using store = await place().open();
      await store.transaction((tx) => tx.db.insertInto("settings").values({ name: "kept", value: "1" }).execute());
      const failing = store.transaction(async (tx) => {
        await tx.db.insertInto("settings").values({ name: "lost", value: "1" }).execute();
        throw new Error("on purpose");
      });
      await expect(failing).rejects.toThrow("on purpose");
    }
    await using again = await place().open();
    const names = (await again.db.selectFrom("settings").select("name").execute()).map((row) => row.name);
    expect(names).toContain("kept");
    expect(names).not.toContain("lost");
  });

  test.for([3, 2_100])(
    "changes %i jobs with what goes with them, and numbers the events in their order",
    async (count) => {
      await using store = await place().open();
      const rows = await store.transaction((tx) =>
        createJobs(
          { store, clock: systemClock },
          tx,
          Array.from({ length: count }, () => ({ ...job, tags: { [`of-${count}`]: "1", b: "2" } })),
        ),
      );
      const before = (await readEvents(store.db, 0, 10_000)).at(-1)?.seq ?? 0;
      await store.transaction(async (tx) => {
        await tx.write([
          {
            insert: "events",
            rows: rows.map(({ id }) => ({
              at: 1,
              type: "test",
              job_id: id,
              workflow_id: null,
              site_id: null,
              owner: null,
              actor: null,
              data: "{}",
            })),
          },
          {
            insert: "job_claims",
            rows: rows.map(({ id }) => ({ job_id: id, position: 0, op_id: `of-${count}`, site_id: "s", cancelled: 0 })),
          },
          { update: "jobs", rows: rows.slice(1).map(({ id }) => ({ id, priority: 7, hold: null })) },
          { update: "jobs", rows: rows.slice(0, 1).map(({ id }) => ({ id, attempt: 2 })) },
          {
            update: "job_tags",
            rows: rows.flatMap(({ id }) => [`of-${count}`, "b"].map((key) => ({ job_id: id, key, status: "CHANGED" }))),
          },
          { update: "operations", rows: [] },
        ]);
      });
      const events = await readEvents(store.db, before, 10_000);
      expect(events.map((event) => event.job_id)).toEqual(rows.map((row) => row.id));
      const [first, second] = await readJobs(store.db, [rows[0]?.id ?? "", rows[1]?.id ?? ""]);
      expect([first?.priority, first?.attempt, second?.priority, second?.attempt]).toEqual([0, 2, 7, 0]);
      const tags = store.db.selectFrom("job_tags").select("status").where("key", "=", `of-${count}`).distinct();
      expect(await tags.execute()).toEqual([{ status: "CHANGED" }]);
      const claims = store.db.selectFrom("job_claims").select("position").where("op_id", "=", `of-${count}`);
      expect(await claims.execute()).toHaveLength(count);
    },
  );

  test("of transactions at the same time each stands for itself: what one undoes is its own", async () => {
    await using store = await place().open();
    const heard: string[] = [];
    const stop = store.listen("jobs", (payload) => void heard.push(payload));
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, (_, i) =>
        store.transaction(async (tx) => {
          await tx.db
            .insertInto("settings")
            .values({ name: `each-${i}`, value: "1" })
            .execute();
          tx.notify("jobs", `each-${i}`);
          if (i % 3 === 0) throw new Error(`on purpose ${i}`);
          return i;
        }),
      ),
    );
    const names = Array.from({ length: 20 }, (_, i) => i).filter((i) => i % 3 !== 0);
    const kept = await store.db.selectFrom("settings").select("name").where("name", "like", "each-%").execute();
    const expected = names.map((i) => `each-${i}`).toSorted();
    expect(kept.map((row) => row.name).toSorted()).toEqual(expected);
    for (const [i, outcome] of outcomes.entries()) {
      if (i % 3 !== 0) expect(outcome).toEqual({ status: "fulfilled", value: i });
      else expect(outcome).toMatchObject({ status: "rejected", reason: { message: `on purpose ${i}` } });
    }
    await waitFor(() => heard.length === expected.length, { what: "the wake-ups" });
    expect(heard.toSorted()).toEqual(expected);
    stop();
  });

  test("read, change and write in a transaction lose no update", async () => {
    await using store = await place().open();
    await store.db.insertInto("settings").values({ name: "counter", value: "0" }).execute();
    const add = () =>
      store.transaction(async (tx) => {
        const query = tx.db.selectFrom("settings").select("value").where("name", "=", "counter");
        const row = await (store.kind === "postgres" ? query.forUpdate() : query).executeTakeFirstOrThrow();
        await tx.db
          .updateTable("settings")
          .set({ value: String(Number(row.value) + 1) })
          .where("name", "=", "counter")
          .execute();
      });
    await Promise.all(Array.from({ length: 30 }, add));
    expect(await counter(store)).toBe(30);
  });

  test("wake-ups come after the commit, once, and not after a rollback", async () => {
    await using store = await place().open();
    const heard: string[] = [];
    const stop = store.listen("jobs", (payload) => void heard.push(payload));
    await store.transaction(async (tx) => {
      tx.notify("jobs", "a");
      await tx.db.selectFrom("settings").selectAll().execute();
      expect(heard).toEqual([]);
    });
    await expect(
      store.transaction((tx) => {
        tx.notify("jobs", "never");
        return Promise.reject(new Error("no"));
      }),
    ).rejects.toThrow("no");
    await store.notify("jobs", "b");
    await waitFor(() => heard.includes("b"), { what: "the second wake-up" });
    expect(heard).toEqual(["a", "b"]);
    stop();
    await store.notify("jobs", "c");
    const later = Promise.withResolvers<void>();
    store.listen("jobs", () => later.resolve());
    await store.notify("jobs", "d");
    await later.promise;
    expect(heard).toEqual(["a", "b"]);
  });

  test("races end at unique constraints: one trigger job per object, one use of a key and of a page token", async () => {
    await using store = await place().open();
    const fire = () =>
      violates(
        store.transaction((tx) =>
          createJobs({ store, clock: systemClock }, tx, [{ ...job, trigger: { id: "t", objectId: "o1" } }]),
        ),
      );
    const fired = await Promise.all(Array.from({ length: 10 }, fire));
    expect(fired.filter((refused) => !refused)).toHaveLength(1);
    const key = { scope: "s", key: "k", request_hash: "h", status: null, response: null, created_at: 0 };
    const keyed = await Promise.all(
      Array.from({ length: 10 }, () => violates(store.db.insertInto("idempotency_keys").values(key).execute())),
    );
    expect(keyed.filter((refused) => !refused)).toHaveLength(1);
    await store.db
      .insertInto("page_tokens")
      .values({ id: "p", collection: "jobs", last_id: "x", created_at: 0 })
      .execute();
    const taken = await Promise.all(
      Array.from({ length: 10 }, () =>
        store.db.deleteFrom("page_tokens").where("id", "=", "p").returningAll().execute(),
      ),
    );
    expect(taken.flat()).toHaveLength(1);
  });

  test("values come back as they went in", async () => {
    await using store = await place().open();
    const at = 8_640_000_000_000_000;
    const bytes = Buffer.from([0, 1, 255, 10]);
    await store.db
      .insertInto("logs")
      .values({
        job_id: "j",
        epoch: 1,
        attempt: 1,
        stream: "stdout",
        offset_bytes: 9_007_199_254_740_991,
        bytes,
        length: 4,
        created_at: at,
      })
      .execute();
    const row = await store.db.selectFrom("logs").selectAll().executeTakeFirstOrThrow();
    expect({ ...row, bytes: [...row.bytes] }).toMatchObject({
      offset_bytes: 9_007_199_254_740_991,
      created_at: at,
      bytes: [0, 1, 255, 10],
      attempt: 1,
    });
    const config = { ключ: 'a"\\\n🧬', list: [1.5, null, true], z: 1, a: 2 };
    const [made] = await store.transaction((tx) =>
      createJobs({ store, clock: systemClock }, tx, [{ ...job, config, name: null }]),
    );
    const document = JSON.parse(made?.doc ?? "{}") as { config: object; name: unknown };
    expect(JSON.stringify(document.config)).toBe(JSON.stringify(config));
    expect(document.name).toBeNull();
  });

  test("ids sort by bytes, on whatever language the database was made", async () => {
    await using store = await place().open();
    const ids = ["b", "B", "a", "_", "é", "Z", "0", ":", "~"];
    for (const id of ids) {
      await store.db.insertInto("objects").values({ id, doc: "{}", mgr_site: "s", created_at: 0 }).execute();
    }
    const rows = await store.db.selectFrom("objects").select("id").orderBy("id").execute();
    expect(rows.map((row) => row.id)).toEqual(ids.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
  });

  test("many jobs are made in the order given, in one transaction, with tags, parents and events", async () => {
    await using store = await place().open();
    const names = Array.from({ length: 1_500 }, (_, i) => `n${i}`);
    const before = (await readEvents(store.db, 0, 100_000)).at(-1)?.seq ?? 0;
    const rows = await store.transaction((tx) =>
      createJobs(
        { store, clock: systemClock },
        tx,
        names.map((name) => ({ ...job, name, tags: { a: "1", b: name } })),
      ),
    );
    expect(rows.map((row) => row.name)).toEqual(names);
    expect(rows.every((row, i) => i === 0 || row.n > (rows[i - 1]?.n ?? 0))).toBe(true);
    const tags = await store.db
      .selectFrom("job_tags")
      .select("job_id")
      .where("key", "=", "b")
      .where("value", "=", "n7")
      .execute();
    expect(tags).toEqual([{ job_id: rows[7]?.id }]);
    const events = await readEvents(store.db, before, 10_000);
    expect(events.map((event) => event.job_id)).toEqual(rows.map((row) => row.id));
    expect((await readJobs(store.db, [rows[3]?.id ?? "", "none"])).map((row) => row.name)).toEqual(["n3"]);
  });

  test("who read the events up to a number has missed none below it, with writers at work", async () => {
    await using store = await place().open();
    const seen = new Set<number>();
    let last = (await readEvents(store.db, 0, 100_000)).at(-1)?.seq ?? 0;
    let writing = true;
    const writers = Promise.all(
      Array.from({ length: 8 }, async (_, writer) => {
        for (let i = 0; i < 15; i++) {
          await store.transaction((tx) =>
            appendEvents(tx, [
              { type: "t", at: 0, actor: `${writer}` },
              { type: "t", at: i },
            ]),
          );
        }
      }),
    ).then(() => (writing = false));
    const start = last;
    for (let more = true; more;) {
      more = writing;
      for (const event of await readEvents(store.db, last, 7)) {
        more = true;
        seen.add(event.seq);
        last = event.seq;
      }
    }
    await writers;
    const all = (await readEvents(store.db, start, 10_000)).map((event) => event.seq);
    expect([...seen]).toEqual(all);
    expect(all).toHaveLength(8 * 15 * 2);
  });

  test("migrations run once, and a database of a newer hub is refused", async () => {
    await using store = await place().open();
    await migrate(store.db, store.kind);
    const extra = {
      name: "9999-later",
      statements: () => ["CREATE TABLE later (a text)", "INSERT INTO later VALUES ('x')"],
    };
    await migrate(store.db, store.kind, [...migrations, extra]);
    await migrate(store.db, store.kind, [...migrations, extra]);
    expect((await sql<{ a: string }>`SELECT a FROM later`.execute(store.db)).rows).toEqual([{ a: "x" }]);
    await expect(migrate(store.db, store.kind)).rejects.toSatisfy((error) => isFault(error, "STORE"));
    await sql`DELETE FROM migrations WHERE name = '9999-later'`.execute(store.db);
    await sql`DROP TABLE later`.execute(store.db);
  });

  test("logs of the time before claims were told apart stay readable", async () => {
    await using store = await place().open();
    await sql`DROP TABLE logs`.execute(store.db);
    for (const statement of migrations[0]?.statements(store.kind) ?? [])
      if (statement.startsWith("CREATE TABLE logs ")) await sql.raw(statement).execute(store.db);
    await sql`DELETE FROM migrations WHERE name = '0003-logs-by-claim'`.execute(store.db);
    const bytes = Buffer.from("old");
    await sql`INSERT INTO logs VALUES ('j', 1, 'stdout', 0, ${bytes}, 3, 7)`.execute(store.db);
    await migrate(store.db, store.kind);
    const [row] = await store.db.selectFrom("logs").selectAll().execute();
    const found = { ...row, bytes: Buffer.from(row?.bytes ?? []).toString() };
    expect(found).toMatchObject({ job_id: "j", epoch: 0, attempt: 1, bytes: "old", length: 3, created_at: 7 });
    const next = {
      job_id: "j",
      epoch: 2,
      attempt: 1,
      stream: "stdout",
      offset_bytes: 0,
      bytes,
      length: 3,
      created_at: 8,
    };
    await store.db.insertInto("logs").values(next).execute();
    await store.db.deleteFrom("logs").execute();
  });

  test("a migration that fails leaves nothing", async () => {
    await using store = await place().open();
    const broken = { name: "9998-broken", statements: () => ["CREATE TABLE half (a text)", "CREATE NONSENSE"] };
    await expect(migrate(store.db, store.kind, [...migrations, broken])).rejects.toThrow();
    await expect(sql`SELECT * FROM half`.execute(store.db)).rejects.toThrow();
    await migrate(store.db, store.kind);
  });

  test("says whether it is healthy", async () => {
    const store = await place().open();
    expect(await store.healthy()).toBe(true);
    await store.close();
    expect(await store.healthy()).toBe(false);
  });
});

const nothingRead = [
  { relname: "job_tags", seq_tup_read: 0 },
  { relname: "jobs", seq_tup_read: 0 },
];

/** Cancels the first of the jobs and takes it from the list; the rows that this read by going through whole tables. */
function rowsReadByCancel(store: Store, jobs: JobRow[]): Promise<unknown[]> {
  return store.transaction(async (tx) => {
    const [first] = jobs.splice(0, 1);
    const [locked] = first ? await readJobs(tx.db, [first.id]) : [];
    const cancel = { state: "CANCELLED", actor: "user:a" } as const;
    if (locked) await changeJob({ store, clock: systemClock }, tx, locked, cancel);
    const read = await sql<{ relname: string; seq_tup_read: number }>`SELECT relname, seq_tup_read
      FROM pg_stat_xact_user_tables WHERE relname IN ('jobs', 'job_tags') ORDER BY relname`.execute(tx.db);
    return read.rows;
  });
}

describeWithEngine("postgres", "the store on PostgreSQL", () => {
  test("several hubs that start at once make the tables once", async () => {
    await using database = await freshDatabase();
    const open = () => openPostgresStore({ url: database.url, log: silentLogger, poolSize: 2 });
    const stores = await Promise.all(Array.from({ length: 4 }, open));
    const rows = await stores[0]?.db.selectFrom("settings").selectAll().execute();
    expect(rows).toEqual([]);
    await Promise.all(stores.map((store) => store.close()));
  });

  test("a deadlock is resolved by running a transaction again", async () => {
    await using database = await freshDatabase();
    await using store = await openPostgresStore({ url: database.url, log: silentLogger });
    for (const name of ["a", "b"]) await store.db.insertInto("settings").values({ name, value: "0" }).execute();
    const both = Promise.withResolvers<void>();
    let inside = 0;
    const add = (names: readonly string[]) =>
      store.transaction(async (tx) => {
        for (const [i, name] of names.entries()) {
          await tx.db
            .updateTable("settings")
            .set({ value: sql<string>`(value::int + 1)::text` })
            .where("name", "=", name)
            .execute();
          if (i === 0 && ++inside === 2) both.resolve();
          if (i === 0) await both.promise;
        }
      });
    await Promise.all([add(["a", "b"]), add(["b", "a"])]);
    const values = (await store.db.selectFrom("settings").select("value").execute()).map((row) => row.value);
    expect(values).toEqual(["2", "2"]);
  });

  test("a failed statement undoes its transaction, also when its failure was caught or shows at the end", async () => {
    await using database = await freshDatabase();
    await using store = await openPostgresStore({ url: database.url, log: silentLogger, poolSize: 1 });
    const setting = { name: "once", value: "1" };
    const noted = (name: string) => ({ name, value: "1" });
    await store.db.insertInto("settings").values(setting).execute();
    const caught = store.transaction(async (tx) => {
      await tx.db.insertInto("settings").values(noted("caught")).execute();
      await tx.db
        .insertInto("settings")
        .values(setting)
        .execute()
        .catch(() => undefined);
    });
    await expect(caught).rejects.toThrow("undone");
    const claim = { job_id: "j", position: 0, op_id: "o", site_id: "s", cancelled: 0 };
    const late = store.transaction(async (tx) => {
      await tx.db.insertInto("settings").values(noted("late")).execute();
      await tx.write([{ insert: "job_claims", rows: [claim] }]);
      await tx.write([{ insert: "job_claims", rows: [claim] }]);
      tx.notify("jobs", "never");
    });
    await expect(late).rejects.toSatisfy(isUniqueViolation);
    await expect(store.transaction((tx) => tx.insert("job_claims", [claim, claim]))).rejects.toSatisfy(
      isUniqueViolation,
    );
    const kept = await store.db.selectFrom("settings").select("name").execute();
    expect(kept).toEqual([{ name: "once" }]);
    expect(await store.db.selectFrom("job_claims").selectAll().execute()).toEqual([]);
  });

  test("queries that are asked at once are answered in their order, and none after the end", async () => {
    await using database = await freshDatabase();
    await using store = await openPostgresStore({ url: database.url, log: silentLogger, poolSize: 1 });
    const held = await store.transaction(async (tx) => {
      const count = () => tx.db.selectFrom("settings").select("name").orderBy("name").execute();
      const add = (name: string) => tx.db.insertInto("settings").values({ name, value: "1" }).execute();
      const [none, , one, , two] = await together([count(), add("a"), count(), add("b"), count()]);
      expect([none.length, one.length, two.length]).toEqual([0, 1, 2]);
      return tx;
    });
    await expect(held.db.selectFrom("settings").selectAll().execute()).rejects.toThrow("after the end");
    expect(await store.db.selectFrom("settings").select("name").orderBy("name").execute()).toHaveLength(2);
  });

  test("a few of many jobs are changed without reading whole tables, with statistics and without", async () => {
    await using database = await freshDatabase();
    await using store = await openPostgresStore({ url: database.url, log: silentLogger, poolSize: 1 });
    for (const table of ["jobs", "job_tags", "operations"]) {
      await sql`ALTER TABLE ${sql.table(table)} SET (autovacuum_enabled = off)`.execute(store.db);
    }
    const ctx = { store, clock: systemClock };
    const news = Array.from({ length: 4_000 }, (_, i) => ({ ...job, tags: { campaign: "one", sample: `${i}` } }));
    const rows = await store.transaction((tx) => createJobs(ctx, tx, news));
    expect(await rowsReadByCancel(store, rows)).toEqual(nothingRead);
    await sql`ANALYZE`.execute(store.db);
    expect(await rowsReadByCancel(store, rows)).toEqual(nothingRead);
  });

  test("a plan that was made for a few jobs and is kept reads no whole table when there are many", async () => {
    await using database = await freshDatabase();
    await using store = await openPostgresStore({ url: database.url, log: silentLogger, poolSize: 1 });
    for (const table of ["jobs", "job_tags"]) {
      await sql`ALTER TABLE ${sql.table(table)} SET (autovacuum_enabled = off)`.execute(store.db);
    }
    const ctx = { store, clock: systemClock };
    const make = (count: number) => {
      const news = Array.from({ length: count }, () => ({ ...job, tags: { campaign: "one" } }));
      return store.transaction((tx) => createJobs(ctx, tx, news));
    };
    const few = await make(12);
    await sql`ANALYZE`.execute(store.db);
    // PostgreSQL plans a statement for its values five times before it makes a plan for any.
    while (few.length > 2) await rowsReadByCancel(store, few);
    await make(4_000);
    expect(await rowsReadByCancel(store, few)).toEqual(nothingRead);
    const kept = await sql<{ plans: number }>`SELECT generic_plans AS plans FROM pg_prepared_statements
      WHERE statement LIKE '%UPDATE jobs %'`.execute(store.db);
    expect(kept.rows).toEqual([{ plans: expect.any(Number) }]);
    expect(kept.rows[0]?.plans).toBeGreaterThan(0);
  });

  test("hubs that keep statements go on when a newer one adds columns", async () => {
    await using database = await freshDatabase();
    await using store = await openPostgresStore({ url: database.url, log: silentLogger, poolSize: 1 });
    const look = () => store.transaction((tx) => tx.db.selectFrom("settings").selectAll().execute());
    for (let times = 0; times < 4; times++) expect(await look()).toEqual([]);
    await sql`ALTER TABLE settings ADD COLUMN later text`.execute(store.db);
    expect(await look()).toEqual([]);
  });

  test.for(["ends", "is made"] as const)(
    "a child that is made while its parent ends waits for nobody, whichever of the two was first: %s",
    async (first) => {
      await using database = await freshDatabase();
      await using store = await openPostgresStore({ url: database.url, log: silentLogger });
      const ctx = { store, clock: systemClock };
      const [parent] = await store.transaction((tx) => createJobs(ctx, tx, [job]));
      const id = parent?.id ?? "";
      const held = Promise.withResolvers<void>();
      const end = async (tx: Tx) => {
        const locked = await lockJob(tx, "postgres", id);
        if (locked) await observeJob(ctx, tx, locked, { state: "JOB_FINISHED", actor: "user:a" });
      };
      const make = async (tx: Tx) => {
        await createJobs(ctx, tx, [{ ...job, parents: [id] }]);
      };
      const [one, other] = first === "ends" ? [end, make] : [make, end];
      const go = Promise.withResolvers<void>();
      const before = store.transaction(async (tx) => {
        await one(tx);
        held.resolve();
        await go.promise;
      });
      await held.promise;
      const after = store.transaction(other);
      const waiting = sql<{ n: number }>`SELECT count(*)::int AS n FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'`;
      await waitFor(async () => ((await waiting.execute(store.db)).rows[0]?.n ?? 0) > 0, {
        what: "the second to wait",
      });
      go.resolve();
      await Promise.all([before, after]);
      const child = store.db.selectFrom("jobs").select("state").where("id", "<>", id);
      expect(await child.execute()).toEqual([{ state: "READY" }]);
    },
  );

  test("connections that break are a fault that passes, and the next ones work", async () => {
    await using database = await freshDatabase();
    await using store = await openPostgresStore({ url: database.url, log: silentLogger, poolSize: 3 });
    await using killer = await openPostgresStore({ url: database.url, log: silentLogger, poolSize: 1 });
    const busy = store.transaction(async (tx) => {
      await tx.db.selectFrom("settings").selectAll().execute();
      const own = (await sql<{ pid: number }>`SELECT pg_backend_pid() AS pid`.execute(tx.db)).rows[0]?.pid ?? 0;
      await sql`SELECT pg_terminate_backend(${own})`.execute(killer.db);
      await waitFor(
        async () =>
          (
            await sql<{ n: number }>`SELECT count(*)::int AS n FROM pg_stat_activity WHERE pid = ${own}`.execute(
              killer.db,
            )
          ).rows[0]?.n === 0,
        { what: "the connection to end" },
      );
      await tx.db.selectFrom("settings").selectAll().execute();
    });
    await expect(busy).rejects.toSatisfy((error) => isFault(error, "STORE"));
    expect(await store.db.selectFrom("settings").selectAll().execute()).toEqual([]);
  });

  test("a query without end is ended by the server, as a fault", async () => {
    await using database = await freshDatabase();
    await using store = await openPostgresStore({ url: database.url, log: silentLogger });
    const endless = store.transaction(async (tx) => {
      await sql`SET LOCAL statement_timeout = 50`.execute(tx.db);
      await sql`SELECT pg_sleep(60)`.execute(tx.db);
    });
    await expect(endless).rejects.toSatisfy((error) => isFault(error, "TIMEOUT"));
  });

  test("a server that is not there is a fault that says so", async () => {
    const opening = openPostgresStore({ url: "postgres://nobody@127.0.0.1:1/none", log: silentLogger });
    await expect(opening).rejects.toSatisfy((error) => isFault(error, "STORE"));
  });
});
