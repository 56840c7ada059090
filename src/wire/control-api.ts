/**
 * The agent's control socket: HTTP over a Unix socket (0600) in the runtime directory, JSON bodies, errors as `problemSchema`.
 *
 * GET  /v1/status                         → statusView
 * GET  /v1/jobs                           → {jobs: localJob[]}            (held and recently ended)
 * GET  /v1/jobs/{id}                      → localJob with history, attempts, manifests
 * GET  /v1/jobs/{id}/logs/{stdout|stderr}?attempt=&offset=&limit= → bytes, headers as logHeaders of user-api.ts
 * POST /v1/jobs/{id}/cancel {reason}      → {result}
 * POST /v1/jobs/{id}/resume               → {result}                       (paused or quarantined)
 * POST /v1/pause {reason, until?} · /v1/resume · /v1/drain {reason, exit?} · /v1/reload · /v1/sync → statusView
 */
import { z } from "zod";
import { limitsSchema } from "./apps.ts";
import {
  endSchema,
  failureSchema,
  holdSchema,
  phaseSchema,
  stateSchema,
  statusSchema,
  timeSchema,
  transferProgressSchema,
} from "./common.ts";

export const agentModes = ["starting", "reconciling", "running", "paused", "draining", "drained", "stopping"] as const;
export type AgentMode = (typeof agentModes)[number];

export const localJobSchema = z.object({
  id: z.string(),
  workflow: z.string(),
  app: z.string(),
  target: z.string(),
  name: z.string().nullable(),
  status: statusSchema,
  state: stateSchema,
  phase: phaseSchema,
  hold: holdSchema.nullable(),
  attempt: z.int(),
  op_id: z.string(),
  epoch: z.int(),
  claimed_at: timeSchema,
  updated_at: timeSchema,
  ended_at: timeSchema.nullable(),
  failure: failureSchema.nullable(),
  end: endSchema.nullable(),
  /** Why it waits, in words; null when it does not. */
  waiting: z.string().nullable(),
  /** Reports not acknowledged yet. */
  unsent: z.int(),
  fenced: z.string().nullable(),
  /** Absolute directory of the job on its host. */
  directory: z.string(),
  /** What moves now; null when nothing does. */
  progress: transferProgressSchema.nullable(),
});
export type LocalJob = z.output<typeof localJobSchema>;

export const historyEntrySchema = z.object({
  at: timeSchema,
  state: stateSchema,
  phase: phaseSchema,
  attempt: z.int(),
  message: z.string().optional(),
});
export type HistoryEntry = z.output<typeof historyEntrySchema>;

export const localJobDetailSchema = localJobSchema.extend({
  history: z.array(historyEntrySchema),
  attempts: z.array(
    z.object({ attempt: z.int(), token: z.string(), directory: z.string(), end: endSchema.nullable() }),
  ),
  inputs: z.array(z.object({ item: z.string(), path: z.string(), bytes: z.int(), sha256: z.string() })),
  outputs: z.array(
    z.object({ item: z.string(), path: z.string(), url: z.string(), bytes: z.int(), sha256: z.string() }),
  ),
  /** How many there are; lists of a job of very many name the first ones only. */
  files: z.object({ inputs: z.int(), outputs: z.int() }).default({ inputs: 0, outputs: 0 }),
  parameters: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
  limits: limitsSchema,
});
export type LocalJobDetail = z.output<typeof localJobDetailSchema>;

export const statusViewSchema = z.object({
  site: z.string(),
  version: z.string(),
  mode: z.enum(agentModes),
  mode_reason: z.string().nullable(),
  mode_by: z.string().nullable(),
  mode_until: timeSchema.nullable(),
  since: timeSchema,
  pid: z.int(),
  /** `ok`, or what is wrong now, each with the repair. */
  problems: z.array(z.object({ what: z.string(), since: timeSchema, repair: z.string().optional() })),
  api: z.object({
    url: z.string(),
    dialect: z.string(),
    reachable: z.boolean(),
    since: timeSchema,
    last_sync_at: timeSchema.nullable(),
    next_sync_at: timeSchema.nullable(),
    last_error: z.string().nullable(),
  }),
  jobs: z.array(localJobSchema),
  targets: z.array(
    z.object({
      name: z.string(),
      launcher: z.string(),
      slots: z.int(),
      used: z.int(),
      tier: z.string(),
      problem: z.string().nullable(),
    }),
  ),
  apps: z.array(z.object({ name: z.string(), workflow: z.string(), target: z.string(), running: z.int() })),
  outbox: z.object({ unsent: z.int(), oldest_at: timeSchema.nullable(), parked: z.int() }),
  journal: z.object({ health: z.string(), bytes: z.int(), records: z.int(), last_sync_ms: z.number() }),
  /** The cache of inputs since the agent began; null: the site has none. `bytes` and `files` are null until it was looked at. */
  cache: z
    .object({
      directory: z.string(),
      bytes: z.int().nullable(),
      files: z.int().nullable(),
      max_bytes: z.int(),
      hits: z.int(),
      misses: z.int(),
      saved_bytes: z.int(),
      evicted: z.int(),
      spoilt: z.int(),
    })
    .nullable()
    .default(null),
  config: z.object({ file: z.string(), digest: z.string(), loaded_at: timeSchema, problem: z.string().nullable() }),
  /** What happens next, in words. */
  next: z.array(z.string()),
  /** The last log lines of level info and above. */
  log: z.array(z.string()),
});
export type StatusView = z.output<typeof statusViewSchema>;

export const pauseRequestSchema = z.strictObject({
  reason: z.string().max(1000).default(""),
  until: timeSchema.optional(),
  by: z.string().max(256).default(""),
});
export const drainRequestSchema = z.strictObject({
  reason: z.string().max(1000).default(""),
  exit: z.boolean().default(false),
  by: z.string().max(256).default(""),
});
export const cancelRequestSchema = z.strictObject({
  reason: z.string().max(1000).default(""),
  by: z.string().max(256).default(""),
});
export const cancelAnswerSchema = z.object({ result: z.enum(["requested", "already-ended", "not-found"]) });
/** Name of the socket in the runtime directory. */
export const controlSocketName = "agent.sock";
