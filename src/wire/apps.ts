/** What a site tells of its apps: enough for forms and `submit --help`; never a command, a path, a host or a secret. */
import { z } from "zod";
import type { App, ParameterSpec } from "../jobs/app.ts";
import { coresPerNode } from "../jobs/resources.ts";
import { parseTemplate } from "../jobs/template.ts";
import { idSchema } from "./common.ts";

const valueSchema = z.union([z.string().max(65_536), z.number(), z.boolean()]);

/** One parameter as a submitter sees it. */
export const parameterViewSchema = z.object({
  type: z.enum(["string", "integer", "number", "boolean"]),
  description: z.string().max(2000).optional(),
  required: z.boolean(),
  default: valueSchema.optional(),
  minimum: z.number().optional(),
  maximum: z.number().optional(),
  min_length: z.int().min(0).optional(),
  max_length: z.int().min(0).optional(),
  enum: z.array(valueSchema).max(1000).optional(),
  /** RE2; the whole value must match. */
  pattern: z.string().max(4096).optional(),
  /** Where the value lies in the job when it is not given by name: `config.sample`, `object.name`. */
  from: z.string().max(1024),
});
export type ParameterView = z.output<typeof parameterViewSchema>;

/** What one attempt of the app may take. */
export const limitsSchema = z.object({
  walltime_ms: z.number().optional(),
  nodes: z.int(),
  /** Per node. */
  cores: z.int(),
  gpus: z.int(),
  memory_bytes: z.number().optional(),
});
export type Limits = z.output<typeof limitsSchema>;

export const appViewSchema = z.object({
  workflow: idSchema,
  description: z.string().max(10_000).optional(),
  parameters: z.record(z.string().max(64), parameterViewSchema).default({}),
  /** Values of the job that its inputs are fetched from: `config.reads_url`, `object.url`. */
  inputs: z.array(z.string().max(1024)).max(1000).default([]),
  /** Attempts at the same time on this site, at most. */
  slots: z.int().min(0).optional(),
  limits: limitsSchema.optional(),
});
export type AppView = z.output<typeof appViewSchema>;

/** Details of more than this are not told, only that the workflows are served. Characters of JSON. */
export const appsLength = 131_072;
const mostApps = 1000;

type Served = Pick<App, "workflow" | "description" | "parameters" | "inputs" | "target" | "max_running" | "resources">;

/** The apps of a site file as the site tells of them. */
export function appViews(site: {
  readonly apps: Readonly<Record<string, Served>>;
  readonly targets: Readonly<Record<string, { readonly slots: number }>>;
}): AppView[] {
  let room = appsLength;
  return Object.values(site.apps)
    .slice(0, mostApps)
    .map((app) => {
      const slots = Math.min(site.targets[app.target]?.slots ?? 0, app.max_running ?? Infinity);
      const view = appView(app, slots);
      const { length } = JSON.stringify(view);
      if (length > room || !appViewSchema.safeParse(view).success) {
        return { workflow: app.workflow, parameters: {}, inputs: [], slots };
      }
      room -= length;
      return view;
    });
}

function appView(app: Served, slots: number): AppView {
  const parameters = Object.entries(app.parameters).flatMap(([name, spec]) =>
    spec.type === "secret" ? [] : [[name, parameterView(name, spec)] as const],
  );
  return {
    workflow: app.workflow,
    ...(app.description === undefined ? {} : { description: app.description }),
    parameters: Object.fromEntries(parameters),
    inputs: inputFields(app),
    slots,
    limits: limitsOf(app),
  };
}

export function limitsOf({ resources }: Pick<App, "resources">): Limits {
  const { walltime, nodes, gpus, memory } = resources;
  return {
    nodes,
    cores: coresPerNode(resources),
    gpus,
    ...(walltime === undefined ? {} : { walltime_ms: walltime }),
    ...(memory === undefined ? {} : { memory_bytes: memory }),
  };
}

function parameterView(name: string, spec: Exclude<ParameterSpec, { type: "secret" }>): ParameterView {
  const limits =
    spec.type === "string"
      ? {
          ...(spec.pattern === undefined ? {} : { pattern: spec.pattern }),
          ...(spec.min_length > 0 ? { min_length: spec.min_length } : {}),
          max_length: spec.max_length,
        }
      : spec.type === "boolean"
        ? {}
        : {
            minimum: spec.minimum ?? 0,
            ...(spec.maximum === undefined ? {} : { maximum: spec.maximum }),
          };
  const allowed = "enum" in spec ? spec.enum : undefined;
  return {
    type: spec.type,
    ...(spec.description === undefined ? {} : { description: spec.description }),
    required: spec.required ?? spec.default === undefined,
    ...(spec.default === undefined || isPlace(spec.default) ? {} : { default: spec.default }),
    ...limits,
    ...(allowed === undefined || allowed.some(isPlace) ? {} : { enum: allowed }),
    from: spec.from ?? `config.${name}`,
  };
}

/** A value that names a place of the site is nobody else's business. */
function isPlace(value: string | number | boolean): boolean {
  return typeof value === "string" && /^(?:~|\.{0,2})\/|:\/\//.test(value);
}

function inputFields(app: Served): string[] {
  const fields = Object.values(app.inputs).flatMap((input) =>
    [input.from, input.size, input.sha256].flatMap((text) =>
      parseTemplate(text ?? "").parts.flatMap((part) =>
        "name" in part && /^(?:config|object)\./.test(part.name) ? [part.name] : [],
      ),
    ),
  );
  return [...new Set(fields)];
}
