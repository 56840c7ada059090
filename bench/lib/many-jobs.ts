/** A store full of jobs of the past, in a minute: rows made by the database itself, indexes made after them. */
import { sql } from "kysely";
import type { Store } from "../../src/hub/store/types.ts";

/** Workflow ids as they are in use at NMDC. */
export const workflows: readonly string[] = Array.from({ length: 10 }, (_, i) => `Reads QC: v1.0.${i}`);
export const projects = 10;
/** Of so many jobs one is open. */
const openEvery = 10_000;
const batch = 100_000;

/**
 * Fills an empty store with `count` jobs: one of 10,000 open, of the others 94 % finished, 5 % failed, 1 % cancelled; each with two
 * tags, the ended ones with their claim; a thousand made in the same millisecond. Tags and states go together as in life (all open
 * jobs are of one project), so that some questions have no answer.
 */
export async function fillJobs(store: Store, count: number): Promise<void> {
  if (store.kind === "sqlite") await sql`PRAGMA synchronous=OFF`.execute(store.db);
  const indexes = await dropIndexes(store, ["jobs", "job_claims", "job_tags"]);
  for (let start = 1; start <= count; start += batch) {
    const end = Math.min(start + batch - 1, count);
    for (const statement of statements(store, start, end)) await sql.raw(statement).execute(store.db);
  }
  for (const statement of indexes) await sql.raw(statement).execute(store.db);
  if (store.kind === "postgres") await sql`VACUUM (ANALYZE) jobs, job_claims, job_tags`.execute(store.db);
  else await sql`PRAGMA wal_checkpoint(TRUNCATE)`.execute(store.db);
}

/** Drops what can be made again faster than kept; returns how. */
async function dropIndexes(store: Store, tables: readonly string[]): Promise<readonly string[]> {
  const list = tables.map((table) => `'${table}'`).join(", ");
  const query =
    store.kind === "sqlite"
      ? `SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN (${list})`
      : `SELECT indexname AS name, indexdef AS sql FROM pg_indexes WHERE tablename IN (${list})
         AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conname = indexname)`;
  const { rows } = await sql.raw<{ name: string; sql: string }>(query).execute(store.db);
  for (const { name } of rows) await sql.raw(`DROP INDEX ${name}`).execute(store.db);
  return rows.map((row) => row.sql);
}

/** Text that both databases understand; `i` is the job's number. */
function statements(store: Store, start: number, end: number): readonly string[] {
  const series =
    store.kind === "sqlite"
      ? `(WITH RECURSIVE s(i) AS (SELECT ${start} UNION ALL SELECT i + 1 FROM s WHERE i < ${end}) SELECT i FROM s)`
      : `(SELECT i FROM generate_series(${start}::bigint, ${end}::bigint) AS g(i))`;
  const text = (what: string): string => `CAST(${what} AS text)`;
  // A prime above the count: each number once, in no order.
  const id = `'nmdc:sys0' || substr(${text("10000000 + (s.i * 7368787) % 1000003")}, 2) || 'abc10'`;
  const open = `s.i % ${openEvery} = 0`;
  const status = `CASE WHEN ${open} THEN 'PENDING' WHEN s.i % 100 = 50 THEN 'CANCELLED' WHEN s.i % 20 = 7 THEN 'FAILED' ELSE 'FINISHED' END`;
  const state = `CASE WHEN ${open} THEN 'READY' WHEN s.i % 100 = 50 THEN 'CANCELLED' WHEN s.i % 20 = 7 THEN 'FAILED' ELSE 'JOB_FINISHED' END`;
  const at = `(1700000000000 + (s.i / 1000) * 600000)`;
  const claim = `'{"op_id":"op' || ${text("s.i")} || '","site_id":"lab-' || ${text("s.i % 50")} || '"}'`;
  const workflow = `'Reads QC: v1.0.' || ${text("(s.i / 10) % 10")}`;
  const doc = `'{"workflow":{"id":"' || ${workflow} || '"},"id":"' || ${id} || '","created_at":{"$date":' || ${text(at)} ||
    '},"config":{"sample":"s' || ${text("s.i")} || '","input":"https://data.example.org/reads/' || ${text("s.i")} ||
    '.fastq.gz"},"claims":[' || CASE WHEN ${open} THEN '' ELSE ${claim} END || ']}'`;
  const tags = `'{"project":"p' || ${text("s.i % 10")} || '","sample":"s' || ${text("s.i")} || '"}'`;
  const only = (table: string): string => `FROM ${table} AS s WHERE s.n BETWEEN ${start} AND ${end}`;
  return [
    `INSERT INTO jobs (n, id, doc, workflow_id, created_at, claim_count, live_claims, state, phase, status, state_since, owner,
       site_id, op_id, attempt, tags, updated_at, ended_at)
     SELECT s.i, ${id}, ${doc}, ${workflow}, ${at}, CASE WHEN ${open} THEN 0 ELSE 1 END, CASE WHEN ${open} THEN 0 ELSE 1 END,
       ${state}, 'none', ${status}, ${at}, 'u' || ${text("s.i % 5")}, CASE WHEN ${open} THEN NULL ELSE 'lab-' || ${text("s.i % 50")} END,
       CASE WHEN ${open} THEN NULL ELSE 'op' || ${text("s.i")} END, 1, ${tags}, ${at}, CASE WHEN ${open} THEN NULL ELSE ${at} + 300000 END
     FROM ${series} AS s`,
    `INSERT INTO job_claims (job_id, position, op_id, site_id, cancelled)
     SELECT s.id, 0, s.op_id, s.site_id, 0 ${only("jobs")} AND s.op_id IS NOT NULL`,
    `INSERT INTO job_tags (job_id, key, value, status, created_at, n)
     SELECT s.id, 'project', 'p' || ${text("s.n % 10")}, s.status, s.created_at, s.n ${only("jobs")}`,
    `INSERT INTO job_tags (job_id, key, value, status, created_at, n)
     SELECT s.id, 'sample', 's' || ${text("s.n")}, s.status, s.created_at, s.n ${only("jobs")}`,
  ];
}
