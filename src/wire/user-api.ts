/** `/siteagent/v1/` as people, scripts and the CLI speak it. Guard: user or API token with a role, see `roles`. */
import { z } from "zod";
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
import { appViewSchema } from "./apps.ts";
import { parentPolicies } from "../jobs/parent-policy.ts";

/** Each role may do what the one before it may. viewer reads; submitter acts on own jobs; operator acts on all; admin edits registries and users. */
export const roles = ["viewer", "submitter", "operator", "admin"] as const;
export type Role = (typeof roles)[number];

/** POST /siteagent/v1/jobs (header Idempotency-Key) → 201 made now, 200 when the key had made it before. */
export const jobCreateSchema = z.strictObject({
  workflow: idSchema,
  name: z.string().max(256).optional(),
  description: z.string().max(10_000).optional(),
  config: jsonObjectSchema.default({}),
  parameters: jsonObjectSchema.default({}),
  tags: tagsSchema.default({}),
  parents: z.array(idSchema).max(1000).default([]),
  parent_policy: z.enum(parentPolicies).default("all_finished"),
  /** Higher first; −1000 … 1000. */
  priority: z.int().min(-1000).max(1000).default(0),
  /** Only this site may claim it. */
  site: idSchema.optional(),
  idempotency_key: z.string().min(1).max(256).optional(),
});
export type JobCreate = z.input<typeof jobCreateSchema>;

/** A job as everybody sees it. */
export const jobViewSchema = z.object({
  id: idSchema,
  workflow: z.object({ id: idSchema }),
  name: z.string().nullable(),
  description: z.string().nullable(),
  config: jsonObjectSchema,
  parameters: jsonObjectSchema,
  tags: z.record(z.string(), z.string()),
  owner: z.string().nullable(),
  status: statusSchema,
  state: stateSchema,
  phase: phaseSchema,
  hold: holdSchema.nullable(),
  site: z.string().nullable(),
  op_id: z.string().nullable(),
  epoch: z.int(),
  attempt: z.int(),
  priority: z.int(),
  parents: z.array(idSchema),
  parent_policy: z.enum(parentPolicies),
  retry_of: z.string().nullable(),
  object_id: z.string().nullable(),
  failure: failureSchema.nullable(),
  end: endSchema.nullable(),
  created_at: timeSchema,
  updated_at: timeSchema,
  claimed_at: timeSchema.nullable(),
  ended_at: timeSchema.nullable(),
  /** Bound jobs of a site not heard of for 90 s. */
  lost_contact: z.boolean(),
  /** What moves now, as its site said in the last half minute; `path` is empty unless the site reports in full. */
  progress: transferProgressSchema.nullable().default(null),
});
export type JobView = z.output<typeof jobViewSchema>;

/** POST /siteagent/v1/jobs:bulk → one result per item, in order; one bad item does not stop the others. */
export const bulkCreateSchema = z.strictObject({ jobs: z.array(z.unknown()).min(1).max(10_000) });
export const itemProblemSchema = z.object({
  code: z.string(),
  detail: z.string(),
  hint: z.string().optional(),
  errors: z.array(z.unknown()).optional(),
});
export const bulkCreateAnswerSchema = z.object({
  results: z.array(
    z.union([z.object({ job: jobViewSchema, created: z.boolean() }), z.object({ error: itemProblemSchema })]),
  ),
});

/** GET /siteagent/v1/jobs — filters are anded; a repeated `status` or `tag` is any-of / all-of. */
export const jobQuerySchema = z.object({
  status: z.union([statusSchema, z.array(statusSchema)]).optional(),
  /** Only jobs that have not ended. */
  active: z.stringbool().optional(),
  workflow: idSchema.optional(),
  site: idSchema.optional(),
  owner: z.string().optional(),
  /** `key` or `key=value`. */
  tag: z.union([z.string(), z.array(z.string())]).optional(),
  /** Words looked for in id, name, workflow, description, tags and failure message. */
  search: z.string().max(256).optional(),
  since: timeSchema.optional(),
  before: timeSchema.optional(),
  sort: z.enum(["created_at", "-created_at", "updated_at", "-updated_at", "name", "-name"]).default("-created_at"),
  limit: z.coerce.number().int().min(1).max(1000).default(50),
  cursor: z.string().max(512).optional(),
});
export const jobListSchema = z.object({
  jobs: z.array(jobViewSchema),
  /** How many match; a hub stops counting at 1,000. */
  total: z.int(),
  /** There are more than `total`. */
  total_capped: z.boolean().default(false),
  next_cursor: z.string().nullable(),
});

/** Cancel only: end the job at the hub though its site has not said that nothing of it runs; for operators. */
const forceSchema = z.boolean().default(false);
/** POST /siteagent/v1/jobs/{id}:cancel|:retry|:pause|:resume */
export const actionRequestSchema = z.strictObject({ reason: z.string().max(1000).default(""), force: forceSchema });
/** POST /siteagent/v1/jobs:cancel|:retry → a result per id. */
export const bulkActionSchema = z.strictObject({
  ids: z.array(idSchema).min(1).max(10_000),
  reason: z.string().max(1000).default(""),
  force: forceSchema,
});
/** `requested`: the order is on its way to the site; `done`: nothing had to be stopped; `already-ended`; `not-found`; `refused`. For retry `job` is the new one. */
export const actionResultSchema = z.object({
  id: idSchema,
  result: z.enum(["requested", "done", "already-ended", "not-found", "refused"]),
  job: jobViewSchema.optional(),
  detail: z.string().optional(),
});
export type ActionResult = z.output<typeof actionResultSchema>;
export const bulkActionAnswerSchema = z.object({ results: z.array(actionResultSchema) });

/** GET /siteagent/v1/events?after=&job=&limit= (JSON), or as SSE with `Accept: text/event-stream` and `Last-Event-ID`. `seq` only grows. */
export const eventSchema = z.object({
  seq: z.int(),
  at: timeSchema,
  /** job.created, job.state, job.hold, job.order, job.outputs, trigger.fired, site.sync, … */
  type: z.string(),
  job: z.string().nullable(),
  site: z.string().nullable(),
  actor: z.string().nullable(),
  data: jsonObjectSchema,
});
export type HubEvent = z.output<typeof eventSchema>;
export const eventQuerySchema = z.object({
  /** Only events with a greater `seq`; 0 = from the first one kept. SSE: `Last-Event-ID` wins. */
  after: z.coerce.number().int().min(0).default(0),
  job: idSchema.optional(),
  limit: z.coerce.number().int().min(0).max(10_000).default(1000),
});
/** `last_seq`: of the newest event of all; with `limit=0` a cheap way to learn where "now" is. */
export const eventListSchema = z.object({ events: z.array(eventSchema), last_seq: z.int() });

/**
 * GET /siteagent/v1/jobs/{id}/logs/{stream}?attempt=&offset=&limit= → raw bytes; headers Siteagent-Log-Offset, -Size, -Complete
 * (nothing follows in this attempt), -Attempt, -Latest-Attempt, -Ended (the job has ended: no further attempt).
 */
export const logHeaders = {
  offset: "siteagent-log-offset",
  size: "siteagent-log-size",
  complete: "siteagent-log-complete",
  attempt: "siteagent-log-attempt",
  latestAttempt: "siteagent-log-latest-attempt",
  ended: "siteagent-log-ended",
  /** Number (epoch) of the claim whose log it is; those of all claims that have one and of the present one, rising, separated by commas. */
  claim: "siteagent-log-claim",
  claims: "siteagent-log-claims",
} as const;
/** GET /siteagent/v1/jobs/{id}/outputs?path=&limit=&cursor=, ordered by path; the bytes at …/outputs/{path}. */
export const outputQuerySchema = z.object({
  /** This one alone. */
  path: z.string().optional(),
  limit: z.coerce.number().int().min(1).max(10_000).default(1_000),
  cursor: z.string().max(8_192).optional(),
});
export const outputListSchema = z.object({
  outputs: z.array(outputFileSchema),
  /** Of the next page; a hub of before has none and answers everything. */
  next_cursor: z.string().nullable().default(null),
});

/** PUT /siteagent/v1/files/{name} (raw body, size-capped) → input file that jobs of this hub may name; GET the same URL. */
export const fileViewSchema = z.object({
  name: z.string(),
  url: z.string(),
  bytes: z.int(),
  sha256: z.string(),
  created_at: timeSchema,
});

/** GET/PUT/DELETE /siteagent/v1/workflows/{id}, object_types/{id}, triggers/{id}; GET without id lists. */
export const fileListSchema = z.object({ files: z.array(fileViewSchema) });
/** One entry of a registry as GET shows it. `source`: `config` rows come from the hub's file and are edited there. */
const registryView = {
  id: idSchema,
  name: z.string().nullable(),
  description: z.string().nullable(),
  created_at: timeSchema,
  source: z.string(),
};
export const workflowViewSchema = z.object({
  ...registryView,
  capability_ids: z.array(z.string()),
  claims: z.enum(["nmdc", "exclusive"]),
});
export const workflowListSchema = z.object({ workflows: z.array(workflowViewSchema) });
export const objectTypeViewSchema = z.object(registryView);
export const objectTypeListSchema = z.object({ object_types: z.array(objectTypeViewSchema) });
export const triggerViewSchema = z.object({
  id: idSchema,
  object_type_id: idSchema,
  workflow_id: idSchema,
  created_at: timeSchema,
  source: z.string(),
});
export const triggerListSchema = z.object({ triggers: z.array(triggerViewSchema) });
export const workflowEditSchema = z.strictObject({
  name: z.string().max(256).optional(),
  description: z.string().max(10_000).optional(),
  capability_ids: z.array(idSchema).default([]),
  /** Who may claim: any number of NMDC claims, or one holder with lease and epoch. */
  claims: z.enum(["nmdc", "exclusive"]).default("nmdc"),
});
export const objectTypeEditSchema = z.strictObject({
  name: z.string().max(256).optional(),
  description: z.string().max(10_000).optional(),
});
export const triggerEditSchema = z.strictObject({ object_type_id: idSchema, workflow_id: idSchema });

/** GET /siteagent/v1/sites */
export const siteViewSchema = z.object({
  id: idSchema,
  last_sync_at: timeSchema.nullable(),
  agent_version: z.string().nullable(),
  state: z.string().nullable(),
  lost_contact: z.boolean(),
  held: z.int(),
  workflows: z.array(z.string()),
  health: jsonObjectSchema,
  /** What its agent told of its apps; empty when it told nothing. */
  apps: z.array(appViewSchema).default([]),
  /** How many jobs of each workflow it could start at its last call. */
  free: z.array(z.object({ workflow: z.string(), slots: z.int() })).default([]),
});

export type SiteView = z.output<typeof siteViewSchema>;
export const siteListSchema = z.object({ sites: z.array(siteViewSchema) });

/** GET /siteagent/v1/me */
export const meSchema = z.object({
  name: z.string(),
  kind: z.enum(["user", "site", "token"]),
  role: z.enum(roles),
  sites: z.array(z.string()),
});
/** POST /siteagent/v1/tokens {name, role, expires?} → the secret is shown once; GET lists; DELETE /{id} ends one. */
export const tokenCreateSchema = z.strictObject({
  name: z.string().min(1).max(64),
  role: z.enum(roles),
  expires_at: timeSchema.optional(),
});
export const tokenViewSchema = z.object({
  id: idSchema,
  name: z.string(),
  role: z.enum(roles),
  owner: z.string(),
  created_at: timeSchema,
  expires_at: timeSchema.nullable(),
  last_used_at: timeSchema.nullable(),
});
/** The only time that the secret (`sat_…`) is shown. */
export const tokenCreatedSchema = tokenViewSchema.extend({ secret: z.string() });
export const tokenListSchema = z.object({ tokens: z.array(tokenViewSchema) });
/** PUT /siteagent/v1/users/{name} {role, password?} (admin) */
export const userEditSchema = z.strictObject({
  role: z.enum(roles),
  password: z.string().min(8).max(1024).optional(),
  disabled: z.boolean().optional(),
});

export const userViewSchema = z.object({
  name: z.string(),
  role: z.enum(roles),
  disabled: z.boolean(),
  sites: z.array(z.string()),
});
export const userListSchema = z.object({ users: z.array(userViewSchema) });

/** Every error body of ours: FastAPI's `detail` with the RFC 9457 members beside it. */
export const problemSchema = z.object({
  detail: z.union([z.string(), z.array(z.unknown())]),
  title: z.string().optional(),
  status: z.int().optional(),
  code: z.string().optional(),
  hint: z.string().optional(),
  retry: z.string().optional(),
  details: jsonObjectSchema.optional(),
  errors: z.array(z.unknown()).optional(),
});
