/** The hub's settings (`hub.yaml`). The schema is the only source of defaults; durations are text. */
import { z } from "zod";
import { Fault } from "../common/fault.ts";
import { duration, size } from "../common/zod-units.ts";
import type { Finding } from "../config/load.ts";
import { pathText } from "../config/problems.ts";
import { secretSchema } from "../config/secret-schema.ts";

const registryTime = z.iso.datetime({ offset: true }).default("2021-06-01T00:00:00Z");

const workflowSchema = z.strictObject({
  id: z.string().min(1).max(256),
  name: z.string().optional().describe("default: the id"),
  description: z.string().nullable().default(null),
  created_at: registryTime,
  capability_ids: z.array(z.string()).default([]),
  claims: z
    .enum(["nmdc", "exclusive"])
    .default("nmdc")
    .describe("who may claim: any number, or one holder with a lease"),
});

const objectTypeSchema = z.strictObject({
  id: z.string().min(1).max(256),
  name: z.string().optional().describe("default: the id"),
  description: z.string().nullable().default(null),
  created_at: registryTime,
});

const triggerSchema = z.strictObject({
  object_type: z.string().min(1),
  workflow: z.string().min(1),
  created_at: registryTime,
});

/** Registries: in the hub's file, and in preset files such as `config/nmdc-preset.yaml`. */
export const registrySchema = z.strictObject({
  workflows: z.array(workflowSchema).default([]),
  object_types: z.array(objectTypeSchema).default([]),
  triggers: z
    .array(triggerSchema)
    .default([])
    .describe(
      "an object that gets the type makes a job of the workflow; both must be in this file or in a preset, each pair once",
    ),
  typecodes: z.record(z.string(), z.string()).default({}).describe("class → typecode of minted ids"),
});
export type Registry = z.output<typeof registrySchema>;

const compatSchema = z.strictObject({
  anonymous_types: z
    .boolean()
    .optional()
    .describe("PUT /objects/{id}/types without a token; default: on with the NMDC preset"),
  anonymous_reads: z
    .boolean()
    .optional()
    .describe("NMDC GET requests without a token; default: on with the NMDC preset"),
});

export const hubConfigSchema = z
  .strictObject({
    listen: z
      .strictObject({
        host: z.string().default("127.0.0.1"),
        port: z.int().min(0).max(65_535).default(8900).describe("0 = any free port"),
      })
      .prefault({}),
    url: z.url().optional().describe("how clients reach the hub, if not at the listening address (behind a proxy)"),
    trust_proxy: z.boolean().default(false).describe("believe X-Forwarded-* of the proxy in front"),
    store: z
      .discriminatedUnion("kind", [
        z.strictObject({ kind: z.literal("sqlite"), path: z.string().min(1) }),
        z.strictObject({
          kind: z.literal("postgres"),
          url: z
            .union([z.string().min(1), ...secretSchema.options])
            .describe("postgres://user:password@host/database, or where it lies: {file: PATH} or {credential: NAME}"),
          pool: z.int().min(1).max(200).default(10),
        }),
      ])
      .describe("sqlite: one machine, one hub process; postgres: any number of hub processes"),
    admin: z
      .strictObject({
        username: z.string().min(1).default("admin"),
        password: secretSchema
          .optional()
          .describe("{file: PATH} or {credential: NAME}; sqlite: made at the first start if absent, see the log"),
      })
      .prefault({}),
    compat: compatSchema.prefault({}),
    presets: z
      .array(z.string())
      .default([])
      .describe(
        "`nmdc`, or paths of registry files; of entries with the same id this file's wins, then that of the preset named first",
      ),
    ...registrySchema.shape,
    limits: z
      .strictObject({
        body: size().prefault("8MiB"),
        requests_per_minute: z.int().min(0).default(1200).describe("per client; 0 = no limit"),
      })
      .prefault({}),
    tokens: z
      .strictObject({
        lifetime: duration().prefault("1d"),
        rotate_keys_after: duration().prefault("30d"),
      })
      .prefault({}),
    triggers_sweep: duration().prefault("30s").describe("how often to look for triggers that were missed"),
    docs: z.boolean().default(true).describe("serve /docs"),
  })
  .describe("settings of `siteagent hub --config`");

export type HubConfigInput = z.input<typeof hubConfigSchema>;
/** After parsing: with defaults, durations in ms, sizes in bytes. */
export type HubSettings = z.output<typeof hubConfigSchema>;

/** With presets merged in and defaults that depend on them decided. */
export interface HubConfig extends Omit<HubSettings, "compat"> {
  readonly compat: { readonly anonymous_types: boolean; readonly anonymous_reads: boolean };
}

/** Checks and completes settings. `preset(name)` reads a preset. Throws `CONFIG` with every problem. */
export function parseHubConfig(input: unknown, preset: (name: string) => unknown): HubConfig {
  const parsed = hubConfigSchema.safeParse(input);
  if (!parsed.success) throw configFault(parsed.error, "the hub's settings");
  const config = parsed.data;
  const merged: { -readonly [Key in keyof Registry]: Registry[Key] } = {
    workflows: config.workflows,
    object_types: config.object_types,
    triggers: config.triggers,
    typecodes: config.typecodes,
  };
  const presets = new Map<string, Registry>();
  for (const name of config.presets) {
    const registry = registrySchema.safeParse(preset(name));
    if (!registry.success) throw configFault(registry.error, `preset '${name}'`);
    presets.set(name, registry.data);
    merged.workflows = byId([...registry.data.workflows, ...merged.workflows]);
    merged.object_types = byId([...registry.data.object_types, ...merged.object_types]);
    merged.triggers = lastOf([...registry.data.triggers, ...merged.triggers], triggerId);
    merged.typecodes = { ...registry.data.typecodes, ...merged.typecodes };
  }
  assertReferences(config, presets);
  const open = config.presets.includes("nmdc");
  return {
    ...config,
    ...merged,
    compat: {
      anonymous_types: config.compat.anonymous_types ?? open,
      anonymous_reads: config.compat.anonymous_reads ?? open,
    },
  };
}

function assertReferences(config: Registry, presets: ReadonlyMap<string, Registry>): void {
  const known = knownOf([config, ...presets.values()]);
  const own = registryFindings(config, known).map((finding) => findingText(finding));
  const others = [...presets]
    .filter(([name]) => name !== "nmdc")
    .flatMap(([name, preset]) =>
      registryFindings(preset, known).map((finding) => `preset '${name}': ${findingText(finding)}`),
    );
  if (own.length + others.length > 0) throw problemsFault("the hub's settings", [...own, ...others]);
}

/** Ids that triggers may name. */
export interface KnownIds {
  readonly workflows: readonly string[];
  readonly object_types: readonly string[];
}

/** What the file and all its presets bring together. */
export function knownOf(registries: readonly Registry[]): KnownIds {
  function ids(section: "workflows" | "object_types"): readonly string[] {
    return [...new Set(registries.flatMap((registry) => registry[section].map((one) => one.id)))];
  }
  return { workflows: ids("workflows"), object_types: ids("object_types") };
}

/** The id that a trigger has in the store and in the API. */
export function triggerId(trigger: { readonly object_type: string; readonly workflow: string }): string {
  return `${trigger.object_type}--${trigger.workflow}`;
}

/**
 * What the schema cannot see in one file's registries: ids that are there twice, triggers that name what nobody knows. Not for the preset
 * `nmdc`, which has the triggers of the NMDC Runtime as they are: two of them name workflows that are not registered there.
 */
export function registryFindings(registry: Registry, known: KnownIds): readonly Finding[] {
  return [
    ...(["workflows", "object_types"] as const).flatMap((section) =>
      twice(registry[section].map((one) => one.id)).map(([index, id]) => ({
        path: [section, index, "id"],
        value: id,
        message: `'${id}' is there twice`,
        allowed: "each id once",
      })),
    ),
    ...registry.triggers.flatMap((trigger, index) => triggerFindings(trigger, index, known)),
    ...twice(registry.triggers.map((trigger) => triggerId(trigger))).map(([index, id]) => ({
      path: ["triggers", index],
      value: id,
      message: `trigger '${id}' is there twice`,
      allowed: "each pair of object type and workflow once",
    })),
  ];
}

function triggerFindings(trigger: Registry["triggers"][number], index: number, known: KnownIds): readonly Finding[] {
  const references = [
    { key: "object_type", words: "object type", section: "object_types" },
    { key: "workflow", words: "workflow", section: "workflows" },
  ] as const;
  return references.flatMap(({ key, words, section }) => {
    const id = trigger[key];
    if (known[section].includes(id)) return [];
    const message = `${words} '${id}' is neither in the file nor in its presets`;
    return [{ path: ["triggers", index, key], value: id, message, known: known[section] }];
  });
}

/** Index and id of each that stood before. */
function twice(ids: readonly string[]): readonly (readonly [number, string])[] {
  const seen = new Set<string>();
  return [...ids.entries()].filter(([, id]) => seen.size === seen.add(id).size);
}

/** The last one of an id wins, at the place of the first. */
function byId<Row extends { readonly id: string }>(rows: readonly Row[]): Row[] {
  return lastOf(rows, (row) => row.id);
}

function lastOf<Row>(rows: readonly Row[], idOf: (row: Row) => string): Row[] {
  return [...new Map(rows.map((row) => [idOf(row), row])).values()];
}

function findingText({ path, message, allowed, known }: Finding): string {
  return `${pathText(path)}: ${message}; allowed: ${allowed ?? (known?.join(", ") || "nothing: there is none")}`;
}

function configFault(error: z.ZodError, what: string): Fault {
  return problemsFault(
    what,
    error.issues.map((issue) => `${issue.path.map(String).join(".") || "(all)"}: ${issue.message}`),
  );
}

function problemsFault(what: string, problems: readonly string[]): Fault {
  return new Fault("CONFIG", `${what} cannot be used: ${problems.join("; ")}`, {
    details: { problems: [...problems] },
  });
}
