/**
 * The hub's tables as both stores hold them. Times are milliseconds since 1970 UTC, flags 0 or 1, nested data JSON text:
 * the same values come back from SQLite and PostgreSQL. Documents (`doc`) are the NMDC documents exactly as a reader sees
 * them, except that their own times are `{"$date": ms}`; PostgreSQL keeps a generated `q jsonb` beside each for filters.
 */
import type { Generated, Selectable } from "kysely";

/** Columns that only the store fills: insertion order, used to list what fits one page. */
interface Ordered {
  n: Generated<number>;
}

export interface UsersTable {
  username: string;
  password_hash: string;
  email: string | null;
  full_name: string | null;
  /** JSON array of site ids. */
  site_admin: string;
  disabled: number;
  /** viewer, submitter, operator, admin; for /siteagent/v1/. */
  role: string;
  created_at: number;
}

export interface SitesTable extends Ordered {
  id: string;
  doc: string;
  created_at: number;
  /** Ours, for /siteagent/v1/: what the site's agent said last (JSON), and when. */
  info: string | null;
  last_seen_at: number | null;
  session_epoch: number;
  instance_id: string | null;
}

export interface SiteClientsTable {
  id: string;
  site_id: string;
  secret_hash: string;
  created_at: number;
}

export interface AllowancesTable {
  username: string;
  action: string;
}

export interface JobsTable extends Ordered {
  id: string;
  /** The NMDC job: workflow, name, description, id, created_at, config, claims; only the fields that are set. */
  doc: string;
  workflow_id: string;
  name: string | null;
  created_at: number;
  /** `config.object_id` when it is text. `odd_object`: it is a list, so the column says nothing. */
  object_id: string | null;
  odd_object: number;
  /** Number of entries of `claims` (null: the job has no such field) and how many are not cancelled. */
  claim_count: number | null;
  live_claims: number;
  /** `nmdc` (any number of claims) or `exclusive` (lease and epoch, only through /siteagent/v1/). */
  claims_policy: string;
  /** Set by the trigger that made the job; unique together with the workflow. */
  trigger_id: string | null;
  trigger_object_id: string | null;
  state: string;
  phase: string;
  /** JSON of src/jobs `Hold`, or null. */
  hold: string | null;
  status: string;
  /** Time since which `state` holds. */
  state_since: number;
  owner: string | null;
  /** Only this site may claim it. */
  wanted_site: string | null;
  /** The site that holds the job now (live claim or lease), and under which operation. */
  site_id: string | null;
  op_id: string | null;
  attempt: number;
  epoch: number;
  claimed_at: number | null;
  lease_expires_at: number | null;
  /** 1: the site was told that the job is its own; nobody else gets it by timer. */
  bound: number;
  /** Highest report number accepted from the holder. */
  report_seq: number;
  /** JSON object of text values; also in job_tags. */
  tags: string;
  /** JSON array of job ids; also in job_parents. */
  parents: string;
  parent_policy: string | null;
  priority: number;
  retry_of: string | null;
  /** JSON of src/jobs `Failure`, and of `AttemptEnd` of the latest attempt. */
  failure: string | null;
  attempt_end: string | null;
  /** JSON of what /siteagent/v1/ keeps beside the document (parameters, limits, result …). */
  spec: string | null;
  result: string | null;
  updated_at: number;
  ended_at: number | null;
}

export interface JobClaimsTable {
  job_id: string;
  /** Position in the document's `claims`. */
  position: number;
  op_id: string;
  site_id: string;
  cancelled: number;
}

export interface JobTagsTable {
  job_id: string;
  key: string;
  value: string;
  /** The job's own, so that lists by tag are one range of an index. */
  status: string;
  created_at: number;
  n: number;
}

export interface JobParentsTable {
  job_id: string;
  parent_id: string;
}

export interface OperationsTable extends Ordered {
  id: string;
  doc: string;
  job_id: string | null;
  site_id: string;
  done: number;
  /** 1 when `metadata.cancelled` is true. */
  cancelled: number;
  created_at: number;
  expire_at: number;
}

export interface ObjectsTable extends Ordered {
  id: string;
  doc: string;
  mgr_site: string;
  created_at: number;
}

export interface ObjectChecksumsTable {
  type: string;
  checksum: string;
  object_id: string;
}

/** Which types an object has; the trigger sweep reads it. */
export interface ObjectTypeLinksTable {
  object_id: string;
  type_id: string;
}

interface RegistryRow extends Ordered {
  id: string;
  name: string;
  description: string | null;
  created_at: number;
  /** `config` rows are rewritten at every start, `api` rows are made through /siteagent/v1/. */
  source: string;
}

export interface ObjectTypesTable extends RegistryRow {}
export interface CapabilitiesTable extends RegistryRow {}

export interface WorkflowsTable extends RegistryRow {
  /** JSON array. */
  capability_ids: string;
  claims_policy: string;
  /** JSON schema of the parameters, if the registry knows one. */
  parameters: string | null;
}

export interface TriggersTable extends Ordered {
  id: string;
  object_type_id: string;
  workflow_id: string;
  created_at: number;
  source: string;
}

export interface PageTokensTable {
  id: string;
  collection: string;
  last_id: string;
  created_at: number;
}

export interface RevokedTokensTable {
  token_hash: string;
  revoked_at: number;
}

export interface JwtKeysTable {
  kid: string;
  /** Base64url of 32 random bytes. */
  secret: string;
  created_at: number;
}

export interface IdempotencyKeysTable {
  /** Who (user or site), so that two clients may use the same key. */
  scope: string;
  key: string;
  request_hash: string;
  status: number | null;
  response: string | null;
  created_at: number;
}

export interface EventsTable {
  /** Global, without reordering: a reader that saw N has seen all below N that will ever exist. */
  seq: Generated<number>;
  at: number;
  type: string;
  job_id: string | null;
  workflow_id: string | null;
  site_id: string | null;
  owner: string | null;
  actor: string | null;
  data: string;
}

export interface OrdersTable extends Ordered {
  id: string;
  job_id: string | null;
  site_id: string;
  kind: string;
  epoch: number | null;
  reason: string | null;
  actor: string | null;
  data: string | null;
  created_at: number;
  delivered_at: number | null;
  acknowledged_at: number | null;
}

export interface LogsTable {
  job_id: string;
  /** Of the claim whose holder wrote it: each holder counts its attempts from 1. */
  epoch: number;
  attempt: number;
  stream: string;
  /** Bytes before this chunk. */
  offset_bytes: number;
  bytes: Uint8Array;
  length: number;
  created_at: number;
}

export interface OutputsTable extends Ordered {
  job_id: string;
  attempt: number;
  name: string;
  /** JSON of the manifest entry (path, size, sha256, location …). */
  data: string;
  content: Uint8Array | null;
  created_at: number;
}

/** Input files that people put on the hub. */
export interface FilesTable {
  name: string;
  owner: string;
  bytes: Uint8Array;
  length: number;
  sha256: string;
  created_at: number;
}

export interface ApiTokensTable {
  id: string;
  token_hash: string;
  username: string;
  role: string;
  name: string | null;
  created_at: number;
  expires_at: number | null;
  revoked_at: number | null;
  last_used_at: number | null;
}

export interface PidsTable {
  id: string;
  class_id: string;
  site_id: string;
  status: string;
  bindings: string | null;
  created_at: number;
}

/** Small facts of the hub: names of versions, the last sweep, … */
export interface SettingsTable {
  name: string;
  value: string;
}

export interface HubDatabase {
  users: UsersTable;
  sites: SitesTable;
  site_clients: SiteClientsTable;
  allowances: AllowancesTable;
  jobs: JobsTable;
  job_claims: JobClaimsTable;
  job_tags: JobTagsTable;
  job_parents: JobParentsTable;
  operations: OperationsTable;
  objects: ObjectsTable;
  object_checksums: ObjectChecksumsTable;
  object_type_links: ObjectTypeLinksTable;
  object_types: ObjectTypesTable;
  capabilities: CapabilitiesTable;
  workflows: WorkflowsTable;
  triggers: TriggersTable;
  page_tokens: PageTokensTable;
  revoked_tokens: RevokedTokensTable;
  jwt_keys: JwtKeysTable;
  idempotency_keys: IdempotencyKeysTable;
  events: EventsTable;
  orders: OrdersTable;
  logs: LogsTable;
  outputs: OutputsTable;
  files: FilesTable;
  api_tokens: ApiTokensTable;
  pids: PidsTable;
  settings: SettingsTable;
}

export type JobRow = Selectable<JobsTable>;
export type OperationRow = Selectable<OperationsTable>;
export type ObjectRow = Selectable<ObjectsTable>;
export type SiteRow = Selectable<SitesTable>;
export type UserRow = Selectable<UsersTable>;
export type WorkflowRow = Selectable<WorkflowsTable>;
export type TriggerRow = Selectable<TriggersTable>;
export type EventRow = Selectable<EventsTable>;
export type OrderRow = Selectable<OrdersTable>;
