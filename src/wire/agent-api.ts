/** `/siteagent/v1/` as a site's agent speaks it: synchronize, report, release, logs, outputs. Guard: site client token. */
import { z } from "zod";
import { appViewSchema } from "./apps.ts";
import {
  endSchema,
  failureSchema,
  holdSchema,
  idSchema,
  jsonObjectSchema,
  outputFileSchema,
  phaseSchema,
  stateSchema,
  statusSchema,
  tagsSchema,
  timeSchema,
  transferProgressSchema,
} from "./common.ts";

/** The object that a trigger-made job is about: config keeps only `object_id`, as on the NMDC Runtime; the rest is resolved here. */
export const specObjectSchema = z.object({
  id: idSchema,
  name: z.string().optional(),
  mime_type: z.string().optional(),
  size: z.int().min(0).optional(),
  checksums: z.array(z.object({ type: z.string(), checksum: z.string() })).default([]),
  /** Of its access methods, in their order. */
  urls: z.array(z.string()).default([]),
});
export type SpecObject = z.output<typeof specObjectSchema>;

/** What an agent needs to run a job. Values are data: only the site's own apps say what is done with them. */
export const jobSpecSchema = z.object({
  workflow: idSchema,
  name: z.string().optional(),
  description: z.string().optional(),
  config: jsonObjectSchema,
  /** Given by name by the submitter; win over values mapped from `config`. */
  parameters: jsonObjectSchema.default({}),
  tags: tagsSchema.default({}),
  owner: z.string().optional(),
  retry_of: idSchema.optional(),
  /** For templates: `{{object.url}}` (the first), `{{object.name}}`, `{{object.size}}`, `{{object.sha256}}`. */
  object: specObjectSchema.optional(),
  parents: z
    .array(z.object({ id: idSchema, state: stateSchema, outputs: z.array(outputFileSchema).default([]) }))
    .default([]),
});
export type JobSpec = z.output<typeof jobSpecSchema>;

/**
 * POST /siteagent/v1/synchronize — the agent says what it holds and could start, the hub answers what it should hold, what is
 * ordered, and when to speak again. Repeatable: a lost answer is healed by the next call.
 */
export const syncRequestSchema = z.strictObject({
  /** Stable for a state directory. */
  agent_id: idSchema,
  /** New for each process. */
  instance_id: idSchema,
  /** The last one the hub gave to this instance; absent at first: the hub opens a new session and older instances lose theirs. */
  session_epoch: z.int().min(1).optional(),
  version: z.string().max(64),
  state: z.enum(["starting", "running", "paused", "draining", "drained", "stopping"]),
  /** How long the hub may hold the answer when it has nothing, milliseconds; 0 = answer at once. */
  hold_ms: z.int().min(0).max(55_000).default(0),
  /** How many jobs of each workflow could start soon. Empty: claim nothing (draining, paused, full). */
  free: z
    .array(z.strictObject({ workflow: idSchema, slots: z.int().min(1).max(10_000) }))
    .max(1000)
    .default([]),
  /** At most this many assignments in all. */
  max_assign: z.int().min(0).max(1000).default(100),
  /** Everything held: the hub compares. */
  held: z
    .array(z.strictObject({ job: idSchema, epoch: z.int().min(1), seq: z.int().min(0), state: stateSchema }))
    .max(100_000)
    .default([]),
  /** Orders carried out or refused since the last answered call. */
  orders: z
    .array(z.strictObject({ id: idSchema, result: z.enum(["accepted", "done", "not-held", "unsupported"]) }))
    .default([]),
  /** Free words for the sites page: reasons not to accept, disk, queue state; ≤ 4 KB. */
  health: jsonObjectSchema.default({}),
  /** What the site serves; told when a session begins and when its configuration has changed. */
  apps: z.array(appViewSchema).max(1000).optional(),
});
export type SyncRequest = z.input<typeof syncRequestSchema>;

export const assignmentSchema = z.object({
  job: idSchema,
  op_id: idSchema,
  /** Raised each time the job is handed to somebody; travels with every write. */
  epoch: z.int().min(1),
  /** Unbound assignments fall back after this many milliseconds; the first acknowledged report binds. */
  lease_ms: z.int().min(1000),
  spec: jobSpecSchema,
});
export type Assignment = z.output<typeof assignmentSchema>;

export const orderSchema = z.object({
  id: idSchema,
  /** An unknown kind is answered `unsupported` and not carried out. */
  kind: z.string(),
  job: idSchema,
  reason: z.string().max(1000),
  actor: z.string().max(256),
  at: timeSchema,
});
export type Order = z.output<typeof orderSchema>;

export const syncAnswerSchema = z.object({
  session_epoch: z.int().min(1),
  /** False: a newer instance has the session; claim nothing, go on watching. */
  session_current: z.boolean(),
  next_sync_ms: z.int().min(0),
  server_time: timeSchema,
  assign: z.array(assignmentSchema),
  orders: z.array(orderSchema),
  /** Held jobs that are no longer ours (stale epoch, another holder): stop writing, leave processes alone, raise an alarm. */
  fenced: z.array(z.object({ job: idSchema, reason: z.string() })).default([]),
  /** Held jobs that the hub does not know at all: its store may have lost them. They go on, their reports are kept. */
  unknown: z.array(z.object({ job: idSchema })).default([]),
  /** Jobs bound to this site that the request did not list. */
  missing: z.array(z.object({ job: idSchema, epoch: z.int() })).default([]),
  /** How often somebody wants logs: milliseconds between chunks. */
  log_interval_ms: z.int().min(250).default(5000),
});
export type SyncAnswer = z.output<typeof syncAnswerSchema>;

/** One state change. `seq` counts from 1 per (job, epoch) without gaps; each is applied once. */
export const reportSchema = z.strictObject({
  job: idSchema,
  op_id: idSchema,
  epoch: z.int().min(1),
  seq: z.int().min(1),
  attempt: z.int().min(0),
  state: stateSchema,
  phase: phaseSchema,
  hold: holdSchema.optional(),
  at: timeSchema,
  end: endSchema.optional(),
  failure: failureSchema.optional(),
  /** True with a terminal state: closes the operation. */
  done: z.boolean().default(false),
  /** Outputs, with the terminal state. */
  outputs: z.array(outputFileSchema).optional(),
  /** How many there are, where `outputs` does not list all and no other report does. */
  outputs_count: z.int().min(0).optional(),
  /** What a hook returned. */
  data: jsonObjectSchema.optional(),
  /** One line for people. */
  message: z.string().max(2000).optional(),
});
export type Report = z.output<typeof reportSchema>;

/** POST /siteagent/v1/reports */
export const reportsRequestSchema = z.strictObject({ reports: z.array(reportSchema).min(1).max(1000) });
/**
 * `applied`; `duplicate` = acknowledged before; `gap` = an earlier seq is missing, send from `expected_seq`; `fenced` = stale epoch
 * or not the holder; `unknown-job`; `refused` = contradicts the table (say `detail`).
 */
export const reportResultSchema = z.object({
  job: idSchema,
  epoch: z.int(),
  seq: z.int(),
  outcome: z.enum(["applied", "duplicate", "gap", "fenced", "unknown-job", "refused"]),
  expected_seq: z.int().optional(),
  detail: z.string().optional(),
});
export type ReportResult = z.output<typeof reportResultSchema>;
export const reportsAnswerSchema = z.object({ results: z.array(reportResultSchema) });

/**
 * PUT /siteagent/v1/progress: all files of held jobs that are on their way now; replaces what the site said before. For people who look:
 * nothing depends on it, and it is forgotten after half a minute.
 */
export const progressRequestSchema = z.strictObject({
  jobs: z.array(z.strictObject({ job: idSchema, epoch: z.int().min(1), ...transferProgressSchema.shape })).max(1000),
});
export type ProgressRequest = z.output<typeof progressRequestSchema>;
export const progressAnswerSchema = z.object({ jobs: z.int() });

/** POST /siteagent/v1/jobs/{id}:claim — exclusive claim of one job by hand (Idempotency-Key header). 409 CLAIM_LOST when another holds it. */
export const claimRequestSchema = z.strictObject({ agent_id: idSchema.optional() });
/** POST /siteagent/v1/jobs/{id}:renew {epoch} → {lease_ms} for an unbound claim. */
export const renewRequestSchema = z.strictObject({ epoch: z.int().min(1) });
/** POST /siteagent/v1/jobs/{id}:release — hand a job back: it becomes READY for others. */
export const releaseRequestSchema = z.strictObject({ epoch: z.int().min(1), reason: z.string().max(1000) });

/**
 * PUT /siteagent/v1/jobs/{id}/logs/{stream}?attempt=&offset=&epoch=[&final=true] with raw bytes (≤ 256 KiB); 416 BAD_OFFSET with
 * `details.offset`. `final`: nothing follows (the body may be empty); without it readers see the end a few seconds after the job's.
 * Bytes beyond the hub's cap are dropped: the answered offset is then that of the sender.
 */
export const logStreams = ["stdout", "stderr"] as const;
export type LogStream = (typeof logStreams)[number];
export const logChunkAnswerSchema = z.object({ offset: z.int().min(0) });
/** PUT /siteagent/v1/jobs/{id}/outputs/{path}?output=&epoch=&sha256= with raw bytes; size-capped (413). */
export const outputUploadAnswerSchema = z.object({ bytes: z.int(), sha256: z.string() });

/** What the agent writes into the operation's metadata on a plain NMDC Runtime (≤ 8 KB), and the hub keeps there as well. */
export const operationMetadataSchema = z.object({
  state: stateSchema,
  status: statusSchema,
  attempt: z.int().min(0),
  seq: z.int().min(0),
  at: timeSchema,
});
export type OperationMetadata = z.output<typeof operationMetadataSchema>;
