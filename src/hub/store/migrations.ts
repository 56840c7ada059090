/**
 * Forward-only migrations. A released one is never edited; a change is a new entry at the end. Each runs once, in one
 * transaction with the note that it ran, also when several hub processes start together.
 */
import { type Kysely, sql } from "kysely";
import { Fault } from "../../common/fault.ts";
import type { HubDatabase } from "./tables.ts";
import type { StoreKind } from "./types.ts";

export interface Migration {
  readonly name: string;
  readonly statements: (kind: StoreKind) => readonly string[];
}

const words = {
  sqlite: { serial: "integer PRIMARY KEY AUTOINCREMENT", bytes: "blob", filterable: "" },
  postgres: {
    serial: "bigserial PRIMARY KEY",
    bytes: "bytea",
    filterable: ", q jsonb NOT NULL GENERATED ALWAYS AS (doc::jsonb) STORED",
  },
} as const;

/** Ids sort by bytes on both engines: pages depend on it. */
function idType(kind: StoreKind): string {
  return kind === "sqlite" ? "text" : 'text COLLATE "C"';
}

function accounts(kind: StoreKind): string[] {
  const { serial, filterable } = words[kind];
  return [
    `CREATE TABLE users (username text PRIMARY KEY, password_hash text NOT NULL, email text, full_name text,
      site_admin text NOT NULL DEFAULT '[]', disabled integer NOT NULL DEFAULT 0, role text NOT NULL DEFAULT 'submitter',
      created_at bigint NOT NULL)`,
    `CREATE TABLE sites (n ${serial}, id ${idType(kind)} NOT NULL UNIQUE, doc text NOT NULL, created_at bigint NOT NULL,
      info text, last_seen_at bigint, session_epoch bigint NOT NULL DEFAULT 0, instance_id text ${filterable})`,
    `CREATE TABLE site_clients (id text PRIMARY KEY, site_id text NOT NULL, secret_hash text NOT NULL,
      created_at bigint NOT NULL)`,
    `CREATE INDEX site_clients_site ON site_clients (site_id)`,
    `CREATE TABLE allowances (username text NOT NULL, action text NOT NULL, PRIMARY KEY (username, action))`,
    `CREATE TABLE revoked_tokens (token_hash text PRIMARY KEY, revoked_at bigint NOT NULL)`,
    `CREATE TABLE jwt_keys (kid text PRIMARY KEY, secret text NOT NULL, created_at bigint NOT NULL)`,
    `CREATE TABLE api_tokens (id text PRIMARY KEY, token_hash text NOT NULL UNIQUE, username text NOT NULL,
      role text NOT NULL, name text, created_at bigint NOT NULL, expires_at bigint, revoked_at bigint,
      last_used_at bigint)`,
    `CREATE TABLE idempotency_keys (scope text NOT NULL, key text NOT NULL, request_hash text NOT NULL, status integer,
      response text, created_at bigint NOT NULL, PRIMARY KEY (scope, key))`,
    `CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at)`,
    `CREATE TABLE page_tokens (id text PRIMARY KEY, collection text NOT NULL, last_id text NOT NULL,
      created_at bigint NOT NULL)`,
    `CREATE INDEX page_tokens_age ON page_tokens (created_at)`,
    `CREATE TABLE settings (name text PRIMARY KEY, value text NOT NULL)`,
  ];
}

function jobs(kind: StoreKind): string[] {
  const { serial, filterable } = words[kind];
  const id = idType(kind);
  return [
    `CREATE TABLE jobs (n ${serial}, id ${id} NOT NULL UNIQUE, doc text NOT NULL, workflow_id ${id} NOT NULL, name text,
      created_at bigint NOT NULL, object_id ${id}, odd_object integer NOT NULL DEFAULT 0, claim_count integer,
      live_claims integer NOT NULL DEFAULT 0, claims_policy text NOT NULL DEFAULT 'nmdc', trigger_id text,
      trigger_object_id text, state text NOT NULL, phase text NOT NULL, hold text, status text NOT NULL,
      state_since bigint NOT NULL, owner text, wanted_site text, site_id text, op_id text, attempt integer NOT NULL DEFAULT 0,
      epoch integer NOT NULL DEFAULT 0, claimed_at bigint, lease_expires_at bigint, bound integer NOT NULL DEFAULT 0,
      report_seq bigint NOT NULL DEFAULT 0, tags text NOT NULL DEFAULT '{}', parents text NOT NULL DEFAULT '[]',
      parent_policy text, priority integer NOT NULL DEFAULT 0, retry_of text, failure text, attempt_end text, spec text, result text,
      updated_at bigint NOT NULL, ended_at bigint ${filterable})`,
    `CREATE UNIQUE INDEX jobs_one_per_trigger ON jobs (workflow_id, trigger_object_id)
      WHERE trigger_object_id IS NOT NULL`,
    // What `GET /jobs` may show, ready for agents that ask for open jobs of their workflows (src/hub/nmdc/lists.ts).
    `CREATE INDEX jobs_open ON jobs (workflow_id, live_claims, id) WHERE claims_policy = 'nmdc'
      AND state <> 'AWAITING_PARENTS' AND NOT (live_claims = 0 AND (hold IS NOT NULL OR ended_at IS NOT NULL))`,
    `CREATE INDEX jobs_workflow ON jobs (workflow_id, created_at)`,
    `CREATE INDEX jobs_object ON jobs (object_id, workflow_id) WHERE object_id IS NOT NULL`,
    `CREATE INDEX jobs_odd_object ON jobs (odd_object) WHERE odd_object = 1`,
    `CREATE INDEX jobs_name ON jobs (name) WHERE name IS NOT NULL`,
    `CREATE INDEX jobs_assignable ON jobs (workflow_id, priority, n) WHERE site_id IS NULL AND ended_at IS NULL`,
    `CREATE INDEX jobs_site ON jobs (site_id, status) WHERE site_id IS NOT NULL`,
    `CREATE INDEX jobs_status ON jobs (status, updated_at)`,
    `CREATE INDEX jobs_owner ON jobs (owner, n) WHERE owner IS NOT NULL`,
    `CREATE INDEX jobs_lease ON jobs (lease_expires_at) WHERE lease_expires_at IS NOT NULL`,
    `CREATE INDEX jobs_created ON jobs (created_at)`,
    `CREATE TABLE job_claims (job_id ${id} NOT NULL, position integer NOT NULL, op_id text NOT NULL,
      site_id text NOT NULL, cancelled integer NOT NULL, PRIMARY KEY (job_id, position))`,
    `CREATE INDEX job_claims_site ON job_claims (site_id, job_id)`,
    `CREATE INDEX job_claims_op ON job_claims (op_id)`,
    `CREATE TABLE job_tags (job_id ${id} NOT NULL, key text NOT NULL, value text NOT NULL, PRIMARY KEY (job_id, key))`,
    `CREATE INDEX job_tags_value ON job_tags (key, value, job_id)`,
    `CREATE TABLE job_parents (job_id ${id} NOT NULL, parent_id ${id} NOT NULL, PRIMARY KEY (job_id, parent_id))`,
    `CREATE INDEX job_parents_parent ON job_parents (parent_id)`,
    `CREATE TABLE operations (n ${serial}, id ${id} NOT NULL UNIQUE, doc text NOT NULL, job_id ${id}, site_id ${id}
      NOT NULL, done integer NOT NULL DEFAULT 0, cancelled integer NOT NULL DEFAULT 0, created_at bigint NOT NULL,
      expire_at bigint NOT NULL ${filterable})`,
    `CREATE INDEX operations_job ON operations (job_id, site_id)`,
    `CREATE INDEX operations_site ON operations (site_id, done)`,
  ];
}

function objects(kind: StoreKind): string[] {
  const { serial, filterable } = words[kind];
  const registry = `n ${serial}, id text NOT NULL UNIQUE, name text NOT NULL, description text,
      created_at bigint NOT NULL, source text NOT NULL`;
  return [
    `CREATE TABLE objects (n ${serial}, id ${idType(kind)} NOT NULL UNIQUE, doc text NOT NULL, mgr_site text NOT NULL,
      created_at bigint NOT NULL ${filterable})`,
    `CREATE TABLE object_checksums (type text NOT NULL, checksum text NOT NULL, object_id text NOT NULL,
      PRIMARY KEY (type, checksum))`,
    `CREATE TABLE object_type_links (object_id text NOT NULL, type_id text NOT NULL, PRIMARY KEY (type_id, object_id))`,
    `CREATE INDEX object_type_links_object ON object_type_links (object_id)`,
    `CREATE TABLE object_types (${registry})`,
    `CREATE TABLE capabilities (${registry})`,
    `CREATE TABLE workflows (${registry}, capability_ids text NOT NULL DEFAULT '[]',
      claims_policy text NOT NULL DEFAULT 'nmdc', parameters text)`,
    `CREATE TABLE triggers (n ${serial}, id text NOT NULL UNIQUE, object_type_id text NOT NULL,
      workflow_id text NOT NULL, created_at bigint NOT NULL, source text NOT NULL)`,
    `CREATE INDEX triggers_type ON triggers (object_type_id)`,
    `CREATE TABLE pids (id text PRIMARY KEY, class_id text NOT NULL, site_id text NOT NULL, status text NOT NULL,
      bindings text, created_at bigint NOT NULL)`,
  ];
}

function streams(kind: StoreKind): string[] {
  const { serial, bytes } = words[kind];
  return [
    `CREATE TABLE events (seq ${serial}, at bigint NOT NULL, type text NOT NULL, job_id text, workflow_id text,
      site_id text, owner text, actor text, data text NOT NULL)`,
    `CREATE INDEX events_job ON events (job_id, seq)`,
    `CREATE TABLE orders (n ${serial}, id text NOT NULL UNIQUE, job_id text, site_id text NOT NULL, kind text NOT NULL,
      epoch integer, reason text, actor text, data text, created_at bigint NOT NULL, delivered_at bigint,
      acknowledged_at bigint)`,
    `CREATE INDEX orders_open ON orders (site_id, n) WHERE acknowledged_at IS NULL`,
    `CREATE INDEX orders_job ON orders (job_id)`,
    `CREATE TABLE logs (job_id text NOT NULL, attempt integer NOT NULL, stream text NOT NULL,
      offset_bytes bigint NOT NULL, bytes ${bytes} NOT NULL, length integer NOT NULL, created_at bigint NOT NULL,
      PRIMARY KEY (job_id, attempt, stream, offset_bytes))`,
    `CREATE TABLE outputs (n ${serial}, job_id text NOT NULL, attempt integer NOT NULL, name text NOT NULL,
      data text NOT NULL, content ${bytes}, created_at bigint NOT NULL, UNIQUE (job_id, attempt, name))`,
    `CREATE TABLE files (name text PRIMARY KEY, owner text NOT NULL, bytes ${bytes} NOT NULL, length integer NOT NULL,
      sha256 text NOT NULL, created_at bigint NOT NULL)`,
  ];
}

/**
 * Indexes for a million jobs: each list that people ask for is one range of one index, newest first; what is open, held or to be
 * handed out has an index of just those. Tags carry their job's order and status: "the newest failed ones of this project" is a
 * range, however many jobs the project or the status has.
 */
function lists(): string[] {
  return [
    `ALTER TABLE job_tags ADD COLUMN status text NOT NULL DEFAULT ''`,
    `ALTER TABLE job_tags ADD COLUMN created_at bigint NOT NULL DEFAULT 0`,
    `ALTER TABLE job_tags ADD COLUMN n bigint NOT NULL DEFAULT 0`,
    `UPDATE job_tags SET (status, created_at, n) = (SELECT status, created_at, n FROM jobs WHERE jobs.id = job_tags.job_id)`,
    `DROP INDEX job_tags_value`,
    `CREATE INDEX job_tags_status ON job_tags (key, value, status, created_at, n)`,
    `DROP INDEX jobs_created`,
    `CREATE INDEX jobs_newest ON jobs (created_at, n)`,
    `CREATE INDEX jobs_active ON jobs (created_at, n) WHERE ended_at IS NULL`,
    `CREATE INDEX jobs_changed ON jobs (updated_at, n)`,
    `DROP INDEX jobs_status`,
    `CREATE INDEX jobs_by_status ON jobs (status, created_at, n)`,
    `DROP INDEX jobs_workflow`,
    `CREATE INDEX jobs_by_workflow ON jobs (workflow_id, created_at, n)`,
    `DROP INDEX jobs_owner`,
    `CREATE INDEX jobs_by_owner ON jobs (owner, created_at, n) WHERE owner IS NOT NULL`,
    `DROP INDEX jobs_site`,
    `CREATE INDEX jobs_by_site ON jobs (site_id, created_at, n) WHERE site_id IS NOT NULL`,
    `CREATE INDEX jobs_held ON jobs (site_id, n) WHERE site_id IS NOT NULL AND ended_at IS NULL`,
    `DROP INDEX jobs_assignable`,
    // As `assignable` (src/hub/v1/claims.ts) says it.
    `CREATE INDEX jobs_assignable ON jobs (workflow_id, priority DESC, n)
      WHERE state = 'READY' AND site_id IS NULL AND live_claims = 0 AND hold IS NULL AND ended_at IS NULL`,
    `DROP INDEX jobs_name`,
    `CREATE INDEX jobs_by_name ON jobs (coalesce(name, ''), n)`,
  ];
}

/** Logs of each claim by themselves; what is there was written by the last holder. */
function logsByClaim(kind: StoreKind): string[] {
  const { bytes } = words[kind];
  const epochOf = `coalesce((SELECT epoch FROM jobs WHERE jobs.id = logs.job_id), 0)`;
  if (kind === "postgres") {
    return [
      `ALTER TABLE logs ADD COLUMN epoch integer NOT NULL DEFAULT 0`,
      `UPDATE logs SET epoch = ${epochOf}`,
      `ALTER TABLE logs DROP CONSTRAINT logs_pkey`,
      `ALTER TABLE logs ADD PRIMARY KEY (job_id, epoch, attempt, stream, offset_bytes)`,
    ];
  }
  return [
    `CREATE TABLE logs_by_claim (job_id text NOT NULL, epoch integer NOT NULL, attempt integer NOT NULL, stream text NOT NULL,
      offset_bytes bigint NOT NULL, bytes ${bytes} NOT NULL, length integer NOT NULL, created_at bigint NOT NULL,
      PRIMARY KEY (job_id, epoch, attempt, stream, offset_bytes))`,
    `INSERT INTO logs_by_claim SELECT job_id, ${epochOf}, attempt, stream, offset_bytes, bytes, length, created_at FROM logs`,
    `DROP TABLE logs`,
    `ALTER TABLE logs_by_claim RENAME TO logs`,
  ];
}

/** What synchronize asks each time. An index of just these needs no other beside it, whatever PostgreSQL believes of the table. */
function unconfirmed(): string[] {
  return [
    `DROP INDEX jobs_lease`,
    // As `expiredIds` (src/hub/v1/claims.ts) says it.
    `CREATE INDEX jobs_unconfirmed ON jobs (lease_expires_at)
      WHERE lease_expires_at IS NOT NULL AND bound = 0 AND ended_at IS NULL`,
  ];
}

export const migrations: readonly Migration[] = [
  { name: "0001-first", statements: (kind) => [...accounts(kind), ...jobs(kind), ...objects(kind), ...streams(kind)] },
  { name: "0002-lists", statements: () => lists() },
  { name: "0003-logs-by-claim", statements: logsByClaim },
  { name: "0004-unconfirmed", statements: unconfirmed },
];

/** Any number that no other use of this database takes: one migrating hub at a time. */
const migrationLock = 7_201_934_115;

/** Brings the database to the newest shape. Throws `STORE` when it was written by a newer hub. */
export async function migrate(db: Kysely<HubDatabase>, kind: StoreKind, list = migrations): Promise<void> {
  await db.transaction().execute(async (tx) => {
    if (kind === "postgres") {
      await sql`SET LOCAL statement_timeout = 0`.execute(tx);
      await sql`SELECT pg_advisory_xact_lock(${migrationLock})`.execute(tx);
    }
    await sql`CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, at text NOT NULL)`.execute(tx);
    const done = await sql<{ name: string }>`SELECT name FROM migrations`.execute(tx);
    const names = new Set(done.rows.map((row) => row.name));
    const unknown = [...names].filter((name) => !list.some((known) => known.name === name));
    if (unknown.length > 0) {
      throw new Fault(
        "STORE",
        `the hub's database was written by a newer siteagent: migration '${unknown[0]}' is unknown`,
        {
          hint: "start the newer siteagent, or restore the backup made before the upgrade",
        },
      );
    }
    for (const migration of list.filter((known) => !names.has(known.name))) {
      for (const statement of migration.statements(kind)) await sql.raw(statement).execute(tx);
      await sql`INSERT INTO migrations (name, at) VALUES (${migration.name}, ${new Date().toISOString()})`.execute(tx);
    }
  });
}
