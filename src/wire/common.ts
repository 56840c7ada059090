/** Pieces that several bodies share. Answers are parsed loosely (unknown fields are ignored), requests strictly. */
import { z } from "zod";
import { endCauses, type EndCause, failureCategories, holdKinds, jobStates, phases } from "../jobs/states.ts";
import { statuses } from "../jobs/status.ts";

/** Ids are opaque; the longest real ones have about 60 characters. */
export const idSchema = z.string().min(1).max(256);
export const timeSchema = z.iso.datetime({ offset: true });
export const stateSchema = z.enum(jobStates);
export const phaseSchema = z.enum(phases);
export const statusSchema = z.enum(statuses);

export const jsonObjectSchema = z.record(z.string(), z.json());

export const holdSchema = z.object({
  kind: z.enum(holdKinds),
  reason: z.string().max(1000),
  since: timeSchema,
  by: z.string().max(256).optional(),
  tries: z.int().min(0).optional(),
  next_try_at: timeSchema.optional(),
});

export const endSchema = z.object({
  cause: z.enum(Object.keys(endCauses) as [EndCause, ...EndCause[]]),
  exit_code: z.int().min(0).max(255).optional(),
  signal: z.string().max(32).optional(),
  evidence: z.string().max(64),
  message: z.string().max(2000).optional(),
  started_at: timeSchema.optional(),
  ended_at: timeSchema,
  usage: z.object({ max_rss_bytes: z.number().optional(), cpu_seconds: z.number().optional() }).optional(),
});

export const failureSchema = z.object({
  code: z.string().max(64),
  category: z.enum(failureCategories),
  message: z.string().max(2000),
  hint: z.string().max(2000).optional(),
  exit_code: z.int().optional(),
  signal: z.string().max(32).optional(),
  scheduler_reason: z.string().max(1000).optional(),
});

/** Tags: up to 64, short. */
export const tagsSchema = z
  .record(
    z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,63}$/, "a tag name: letters, digits and _.:/- (64)"),
    z.string().max(256),
  )
  .refine((tags) => Object.keys(tags).length <= 64, "at most 64 tags");

/** One file of an output manifest. */
export const outputFileSchema = z.object({
  /** Name of the output in the app. */
  output: z.string().max(64),
  path: z.string().max(4096),
  bytes: z.int().min(0),
  sha256: z.string().regex(/^[0-9a-f]{64}$/, "64 lower-case hexadecimal digits"),
  /** Where it lies; absent when it stayed on the site or the site does not tell. */
  url: z.string().max(4096).optional(),
  /** True when the hub holds a copy (`GET …/outputs/{path}`). */
  stored: z.boolean().default(false),
});
export type OutputFile = z.output<typeof outputFileSchema>;

/** Inputs or outputs on their way: figures of all files of that stage, and the file that moved last. */
export const transferProgressSchema = z.object({
  stage: z.enum(["inputs", "outputs"]),
  item: z.string(),
  path: z.string(),
  bytes: z.int(),
  total_bytes: z.int().nullable(),
  files: z.int(),
  total_files: z.int().nullable(),
  /** Of the last seconds. */
  bytes_per_second: z.int().nullable(),
  eta_seconds: z.int().nullable(),
});
export type TransferProgress = z.output<typeof transferProgressSchema>;
