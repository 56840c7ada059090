/**
 * An app: what the site's administrator registered to serve a workflow. The zod schemas are the only source: the site file, the
 * generated JSON Schema and the configuration manual derive from them. After parsing, durations are milliseconds and sizes bytes.
 */
import { z } from "zod";
import { patternProblem } from "../common/path-pattern.ts";
import { duration, size } from "../common/zod-units.ts";
import { mpiSchema } from "./mpi.ts";
import { archivePolicies, hookNames, warningSignals } from "./rules.ts";
import { runtimeSchema } from "./runtime.ts";

/** Names of apps, parameters, inputs, outputs: they appear in templates and paths. */
export const nameSchema = z
  .string()
  .regex(/^[A-Za-z][A-Za-z0-9_-]{0,63}$/, "a name: a letter, then letters, digits, _ or -, at most 64");

/** Text with `{{x}}` places; each fills exactly one argv element or one part of a URL. */
export const templateSchema = z.string().max(4096);

const parameterCommon = {
  description: z.string().optional().meta({ description: "for people: forms and submit --help show it" }),
  /** Where the value comes from in the job: a dotted path below `config` or `object` (default: `config.<name>`, then `parameters.<name>`). */
  from: z
    .string()
    .regex(/^(config|object)(\.[A-Za-z0-9_-]+)+$/, "a path below config or object, as config.sample or object.name")
    .optional()
    .meta({
      description: "where the value lies in the job, as config.sample; default: config.NAME, then parameters.NAME",
    }),
  required: z.boolean().optional().meta({ description: "default: true without `default`" }),
};

export const parameterSchema = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("string"),
    ...parameterCommon,
    default: z.string().optional().meta({ description: "value of jobs that give none" }),
    pattern: z
      .string()
      .optional()
      .meta({ description: "a regular expression (RE2 syntax) that the whole value must match" }),
    enum: z.array(z.string()).optional().meta({ description: "the only values allowed" }),
    min_length: z.int().min(0).default(0).meta({ description: "least number of characters" }),
    max_length: z.int().min(0).max(65536).default(1024).meta({ description: "greatest number of characters" }),
    allow_leading_dash: z
      .boolean()
      .default(false)
      .meta({ description: "allow values that begin with - (commands take them for options)" }),
  }),
  z.strictObject({
    type: z.literal("integer"),
    ...parameterCommon,
    default: z.int().optional().meta({ description: "value of jobs that give none" }),
    minimum: z.int().optional().meta({ description: "least value; default 0, so that no value begins with -" }),
    maximum: z.int().optional().meta({ description: "greatest value" }),
    enum: z.array(z.int()).optional().meta({ description: "the only values allowed" }),
  }),
  z.strictObject({
    type: z.literal("number"),
    ...parameterCommon,
    default: z.number().optional().meta({ description: "value of jobs that give none" }),
    minimum: z.number().optional().meta({ description: "least value; default 0, so that no value begins with -" }),
    maximum: z.number().optional().meta({ description: "greatest value" }),
  }),
  z.strictObject({
    type: z.literal("boolean"),
    ...parameterCommon,
    default: z.boolean().optional().meta({ description: "value of jobs that give none" }),
  }),
  z.strictObject({
    type: z.literal("secret"),
    description: z.string().optional().meta({ description: "for people: forms and submit --help show it" }),
    file: z
      .string()
      .meta({ description: "a file of the site; handed to the job as a 0600 file whose path fills {{name}}" }),
  }),
]);
export type ParameterSpec = z.output<typeof parameterSchema>;

export const inputSchema = z.strictObject({
  from: templateSchema.meta({ description: "source URL or declared remote, e.g. {{config.reads_url}}" }),
  to: z.string().meta({ description: "path below the job's in/ directory" }),
  kind: z
    .enum(["file", "directory", "glob"])
    .default("file")
    .meta({ description: "one file, a whole directory, or all that match a pattern" }),
  required: z.boolean().default(true).meta({ description: "false: nothing there is no failure" }),
  mode: z.enum(["copy", "link"]).default("copy").meta({
    description:
      "link: a hard link, or a symbolic one to another file system; for file:// sources. The job can then change the source",
  }),
  size: templateSchema.optional().meta({ description: "expected bytes" }),
  sha256: templateSchema.optional().meta({ description: "expected digest, 64 hexadecimal digits" }),
  max_size: size().optional(),
});
export type InputSpec = z.output<typeof inputSchema>;

const filterSchema = z
  .string()
  .min(1)
  .max(1000)
  .superRefine((pattern, context) => {
    const problem = patternProblem(pattern);
    if (problem !== undefined) context.addIssue({ code: "custom", message: `it is no RE2 expression: ${problem}` });
  });

export const outputSchema = z.strictObject({
  from: z.string().meta({ description: "path or glob below the job's work/ directory" }),
  to: templateSchema.optional().meta({
    description:
      "destination URL; without it the output is uploaded to the hub, where there is one, or stays in the work directory",
  }),
  kind: z
    .enum(["file", "directory", "glob"])
    .default("file")
    .meta({ description: "one file, a whole directory, or all that match a pattern" }),
  required: z.boolean().default(true).meta({ description: "false: nothing there is no failure" }),
  include: z.array(filterSchema).max(100).default([]).meta({
    description:
      "of directories and globs: files that are taken; empty: all. Globs (without / of the name alone), or re: and an RE2 expression for the whole path",
  }),
  exclude: z
    .array(filterSchema)
    .max(100)
    .default([])
    .meta({ description: "files and directories that are left out, written alike" }),
  max_size: size().optional(),
});
export type OutputSpec = z.output<typeof outputSchema>;

export const resourcesSchema = z.strictObject({
  nodes: z.int().min(1).max(1_000_000).default(1).meta({ description: "machines" }),
  ranks_per_node: z.int().min(1).max(100_000).default(1).meta({ description: "MPI ranks (processes) on each node" }),
  threads_per_rank: z
    .int()
    .min(1)
    .max(100_000)
    .default(1)
    .meta({ description: "threads of each rank; sets OMP_NUM_THREADS" }),
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

export const warningSchema = z
  .strictObject({
    signal: z.enum(warningSignals).default("SIGUSR1").meta({ description: "the signal" }),
    before: duration().meta({ description: "so long before resources.walltime is over" }),
    to: z.enum(["all", "command"]).default("all").meta({
      description: "all: every process of the attempt, as schedulers do it; command: its first process alone",
    }),
  })
  .meta({
    description:
      "a signal shortly before the time limit, so that the command can save its work; it ends processes that do not handle it",
  });
export type Warning = z.output<typeof warningSchema>;

const hookCommand = z.strictObject({
  command: z.array(templateSchema).min(1).meta({ description: "argv, run on the target's host in the work directory" }),
  timeout: duration().prefault("5m").meta({ description: "time limit of the hook" }),
});
const hookModule = z.strictObject({
  module: z.string().meta({ description: "an ES module of the site, run in a child process of the agent" }),
  timeout: duration().prefault("5m").meta({ description: "time limit of the hook" }),
});
export const hookSchema = z.union([hookCommand, hookModule]);
export type HookSpec = z.output<typeof hookSchema>;

export const retrySchema = z.strictObject({
  attempts: z.int().min(1).max(1000).default(1).meta({ description: "tries in all; lost allocations do not count" }),
  on: z
    .array(
      z
        .string()
        .regex(
          /^(timeout|node|oom|launch|status-lost|exit(:\d{1,3})?|signal(:SIG[A-Z0-9]+)?)$/,
          "one of timeout, node, oom, launch, status-lost, exit, exit:CODE, signal, signal:NAME",
        ),
    )
    .default(["timeout", "node"])
    .meta({
      description:
        "causes after which another try is made: timeout, node, oom, launch, status-lost, exit, exit:CODE, signal, signal:NAME",
    }),
  delay: duration().prefault("0s").meta({ description: "before the next try; doubled for each further one, up to 1h" }),
});

export const successSchema = z.strictObject({
  exit_codes: z
    .array(z.int().min(0).max(255))
    .min(1)
    .default([0])
    .meta({ description: "exit codes that mean success" }),
  on_timeout: z.boolean().default(false).meta({ description: "true: being ended by its own time limit is success" }),
});

export const appSchema = z.strictObject({
  workflow: z.string().min(1).max(256).meta({ description: "the public id that jobs name, as readqc-1.0.0" }),
  description: z.string().optional().meta({ description: "for people: forms and submit --help show it" }),
  parameters: z
    .record(nameSchema, parameterSchema)
    .default({})
    .meta({ description: "values of the job that may enter the command" }),
  inputs: z
    .record(nameSchema, inputSchema)
    .default({})
    .meta({ description: "what is staged in before the first attempt" }),
  command: z
    .array(templateSchema)
    .min(1)
    .max(4096)
    .meta({ description: "argv; one element is one argument, whatever its places are filled with; never a shell" }),
  environment: z
    .record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "an environment name: letters, digits, _"), templateSchema)
    .default({})
    .meta({ description: "variables of the command; names are fixed here, values may have places" }),
  outputs: z.record(nameSchema, outputSchema).default({}).meta({ description: "what is staged out at the end" }),
  resources: resourcesSchema.prefault({}).meta({ description: "what one attempt needs" }),
  target: z.string().meta({ description: "where it runs: a name under targets" }),
  runtime: runtimeSchema.default("plain").meta({
    description:
      "pty: the command gets a terminal; siteagent attach reaches it; or {ENGINE: …}: it runs in a container",
  }),
  mpi: mpiSchema.optional(),
  hooks: z
    .partialRecord(z.enum(hookNames), hookSchema)
    .default({})
    .meta({ description: "the site's own code around an attempt" }),
  success: successSchema.prefault({}).meta({ description: "when an attempt counts as done" }),
  retry: retrySchema.prefault({}).meta({ description: "when another attempt is made; default: the site's retry" }),
  archive: z
    .enum(archivePolicies)
    .default("on_success")
    .meta({ description: "when outputs are staged out; on failure also what is there" }),
  restart: z.enum(["keep", "clean"]).default("keep").meta({ description: "what the next attempt finds in work/" }),
  warning: warningSchema.optional(),
  grace: duration().prefault("30s").meta({ description: "between TERM and KILL" }),
  umask: z
    .string()
    .regex(/^0?[0-7]{3}$/, 'three octal digits in quotes, as "027"')
    .default("077")
    .meta({ description: 'three octal digits in quotes, as "027"' }),
  max_output: size().prefault("1GiB").meta({ description: "cap of each of stdout and stderr as stored" }),
  stdin: z.enum(["none"]).default("none").meta({ description: "standard input of the command: empty" }),
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
