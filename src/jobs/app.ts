/**
 * An app: what the site's administrator registered to serve a workflow. The zod schemas are the only source: the site file, the
 * generated JSON Schema and the configuration manual derive from them. After parsing, durations are milliseconds and sizes bytes.
 */
import { z } from "zod";
import { duration, size } from "../common/zod-units.ts";
import { archivePolicies, hookNames } from "./rules.ts";

/** Names of apps, parameters, inputs, outputs: they appear in templates and paths. */
export const nameSchema = z
  .string()
  .regex(/^[A-Za-z][A-Za-z0-9_-]{0,63}$/, "a name: a letter, then letters, digits, _ or -, at most 64");

/** Text with `{{x}}` places; each fills exactly one argv element or one part of a URL. */
export const templateSchema = z.string().max(4096);

const parameterCommon = {
  description: z.string().optional(),
  /** Where the value comes from in the job: a dotted path below `config` or `object` (default: `config.<name>`, then `parameters.<name>`). */
  from: z
    .string()
    .regex(/^(config|object)(\.[A-Za-z0-9_-]+)+$/, "a path below config or object, as config.sample or object.name")
    .optional(),
  required: z.boolean().optional().meta({ description: "default: true without `default`" }),
};

export const parameterSchema = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("string"),
    ...parameterCommon,
    default: z.string().optional(),
    pattern: z
      .string()
      .optional()
      .meta({ description: "a regular expression (RE2 syntax) that the whole value must match" }),
    enum: z.array(z.string()).optional(),
    min_length: z.int().min(0).default(0),
    max_length: z.int().min(0).max(65536).default(1024),
    allow_leading_dash: z.boolean().default(false),
  }),
  z.strictObject({
    type: z.literal("integer"),
    ...parameterCommon,
    default: z.int().optional(),
    minimum: z.int().optional(),
    maximum: z.int().optional(),
    enum: z.array(z.int()).optional(),
  }),
  z.strictObject({
    type: z.literal("number"),
    ...parameterCommon,
    default: z.number().optional(),
    minimum: z.number().optional(),
    maximum: z.number().optional(),
  }),
  z.strictObject({ type: z.literal("boolean"), ...parameterCommon, default: z.boolean().optional() }),
  z.strictObject({
    type: z.literal("secret"),
    description: z.string().optional(),
    file: z
      .string()
      .meta({ description: "a file of the site; handed to the job as a 0600 file whose path fills {{name}}" }),
  }),
]);
export type ParameterSpec = z.output<typeof parameterSchema>;

export const inputSchema = z.strictObject({
  from: templateSchema.meta({ description: "source URL or declared remote, e.g. {{config.reads_url}}" }),
  to: z.string().meta({ description: "path below the job's in/ directory" }),
  kind: z.enum(["file", "directory", "glob"]).default("file"),
  required: z.boolean().default(true),
  mode: z.enum(["copy", "link"]).default("copy"),
  size: templateSchema.optional().meta({ description: "expected bytes" }),
  sha256: templateSchema.optional().meta({ description: "expected digest, 64 hexadecimal digits" }),
  max_size: size().optional(),
});
export type InputSpec = z.output<typeof inputSchema>;

export const outputSchema = z.strictObject({
  from: z.string().meta({ description: "path or glob below the job's work/ directory" }),
  to: templateSchema.optional().meta({
    description:
      "destination URL; without it the output is uploaded to the hub, where there is one, or stays in the work directory",
  }),
  kind: z.enum(["file", "directory", "glob"]).default("file"),
  required: z.boolean().default(true),
  include: z.array(z.string()).default([]),
  exclude: z.array(z.string()).default([]),
  max_size: size().optional(),
});
export type OutputSpec = z.output<typeof outputSchema>;

export const resourcesSchema = z.strictObject({
  nodes: z.int().min(1).max(1_000_000).default(1),
  ranks_per_node: z.int().min(1).max(100_000).default(1),
  threads_per_rank: z.int().min(1).max(100_000).default(1),
  cores: z
    .int()
    .min(1)
    .max(10_000_000)
    .optional()
    .meta({ description: "cores per node; default ranks_per_node × threads_per_rank" }),
  gpus: z.int().min(0).max(100_000).default(0).meta({ description: "GPUs per node" }),
  memory: size().optional().meta({ description: "memory per node" }),
  walltime: duration().optional().meta({ description: "time limit of one attempt; held by recorder or scheduler" }),
});
export type Resources = z.output<typeof resourcesSchema>;

const hookCommand = z.strictObject({
  command: z.array(templateSchema).min(1).meta({ description: "argv, run on the target's host in the work directory" }),
  timeout: duration().prefault("5m"),
});
const hookModule = z.strictObject({
  module: z.string().meta({ description: "an ES module of the site, run in a child process of the agent" }),
  timeout: duration().prefault("5m"),
});
export const hookSchema = z.union([hookCommand, hookModule]);
export type HookSpec = z.output<typeof hookSchema>;

export const retrySchema = z.strictObject({
  attempts: z.int().min(1).max(1000).default(1),
  on: z
    .array(
      z
        .string()
        .regex(
          /^(timeout|node|oom|launch|status-lost|exit(:\d{1,3})?|signal(:SIG[A-Z0-9]+)?)$/,
          "one of timeout, node, oom, launch, status-lost, exit, exit:CODE, signal, signal:NAME",
        ),
    )
    .default(["timeout", "node"]),
  delay: duration().prefault("0s"),
});

export const successSchema = z.strictObject({
  exit_codes: z.array(z.int().min(0).max(255)).min(1).default([0]),
  on_timeout: z.boolean().default(false),
});

export const appSchema = z.strictObject({
  workflow: z.string().min(1).max(256),
  description: z.string().optional(),
  parameters: z.record(nameSchema, parameterSchema).default({}),
  inputs: z.record(nameSchema, inputSchema).default({}),
  command: z.array(templateSchema).min(1).max(4096),
  environment: z
    .record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "an environment name: letters, digits, _"), templateSchema)
    .default({}),
  outputs: z.record(nameSchema, outputSchema).default({}),
  resources: resourcesSchema.prefault({}),
  target: z.string(),
  runtime: z.enum(["plain", "pty"]).default("plain"),
  hooks: z.partialRecord(z.enum(hookNames), hookSchema).default({}),
  success: successSchema.prefault({}),
  retry: retrySchema.prefault({}),
  archive: z
    .enum(archivePolicies)
    .default("on_success")
    .meta({ description: "when outputs are staged out; on failure also what is there" }),
  restart: z.enum(["keep", "clean"]).default("keep").meta({ description: "what the next attempt finds in work/" }),
  grace: duration().prefault("30s").meta({ description: "between TERM and KILL" }),
  umask: z
    .string()
    .regex(/^0?[0-7]{3}$/, 'three octal digits in quotes, as "027"')
    .default("077")
    .meta({ description: 'three octal digits in quotes, as "027"' }),
  max_output: size().prefault("1GiB").meta({ description: "cap of each of stdout and stderr as stored" }),
  stdin: z.enum(["none"]).default("none"),
  max_running: z.int().min(1).optional().meta({ description: "attempts of this app at the same time on this site" }),
  keep: duration()
    .optional()
    .meta({ description: "how long the directories of an ended job stay; default: site setting" }),
});
/** An app as compiled from the site file. */
export type App = z.output<typeof appSchema> & { readonly name: string };
/** A parameter's value after validation. */
export type ParameterValue = string | number | boolean;
export type ParameterValues = Readonly<Record<string, ParameterValue>>;
