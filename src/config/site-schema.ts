/** The site file. Single source of defaults, descriptions, JSON Schema and manual. After parsing, durations are ms and sizes bytes. */
import { availableParallelism } from "node:os";
import { z } from "zod";
import { duration, size } from "../common/zod-units.ts";
import { appSchema, nameSchema, retrySchema } from "../jobs/app.ts";
import { gpusSchema, gpuVendors } from "../jobs/gpus.ts";
import { globusSchema } from "./globus-schema.ts";
import { s3Schema } from "./s3-schema.ts";
import { secretSchema } from "./secret-schema.ts";
import { sshSchema } from "./ssh-schema.ts";

const pathText = (description: string) => z.string().min(1).max(4096).meta({ description });

const siteName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/, "a name: letters, digits, _ . -, at most 128")
  .meta({ description: "who we are: the site_id that central knows" });

const apiSchema = z
  .strictObject({
    url: z
      .string()
      .max(2048)
      .meta({ description: "address of the central API", examples: ["https://api.example.org"] }),
    client_id: z
      .string()
      .regex(/^[!-~]{1,256}$/, "printable characters without blanks")
      .meta({ description: "id of the site's client, as central gave it" }),
    client_secret: secretSchema,
    dialect: z.enum(["auto", "nmdc", "hub"]).default("auto").meta({
      description: "auto: use the hub's extensions where GET /version offers them; nmdc: plain protocol only",
    }),
    poll: duration().prefault("15s").meta({ description: "shortest time between two polls; the agent adds jitter" }),
    timeout: duration().prefault("30s").meta({ description: "time limit of one call" }),
    ca_file: pathText("certificates (PEM) trusted besides the system's").optional(),
    allow_http: z
      .boolean()
      .default(false)
      .meta({ description: "allow http:// to a host other than this machine (secrets travel in clear)" }),
  })
  .meta({ description: "where the central API is" });

const agentSchema = z
  .strictObject({
    state_dir: pathText(
      "journal and identity; default: SITEAGENT_STATE_DIR, systemd's, XDG, /var/lib/siteagent",
    ).optional(),
    runtime_dir: pathText("control socket; default: SITEAGENT_RUNTIME_DIR, systemd's, XDG, /run/siteagent").optional(),
    log_level: z
      .enum(["debug", "info", "warn", "error", "silent"])
      .default("info")
      .meta({ description: "least level that is logged" }),
    report: z
      .enum(["minimal", "full"])
      .default("minimal")
      .meta({ description: "what central is told; minimal: no path, host, user name or log text" }),
    keep: duration().prefault("7d").meta({ description: "how long directories of ended jobs stay" }),
    max_jobs: z
      .int()
      .min(1)
      .max(100_000)
      .default(200)
      .meta({ description: "jobs held at the same time, waiting ones included" }),
    environment: z
      .array(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "an environment name: letters, digits, _"))
      .max(256)
      .default([])
      .meta({ description: "variables of the agent that attempts and hooks may see" }),
    path: z
      .string()
      .min(1)
      .max(4096)
      .default("/usr/local/bin:/usr/bin:/bin")
      .meta({ description: "PATH of attempts and hooks; absolute directories" }),
    min_free_space: size()
      .prefault("1GiB")
      .meta({ description: "below it in a work directory nothing new is claimed" }),
    claim: z.boolean().default(true).meta({ description: "false: follow what is held, claim nothing new" }),
  })
  .meta({ description: "the daemon itself" });

const hostSchema = z.strictObject({
  workdir: pathText(
    "directory below which all directories of jobs lie; default: <state_dir>/work; absolute, and needed, for a host by SSH",
  ).optional(),
  ssh: sshSchema.optional(),
  adapter: nameSchema
    .optional()
    .meta({ description: "a host of the site's own kind: a name under adapters; not beside ssh" }),
  path: z
    .string()
    .min(1)
    .max(4096)
    .optional()
    .meta({ description: "PATH of the scheduler's commands there; default: agent.path" }),
  environment: z
    .record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "an environment name: letters, digits, _"), z.string())
    .default({})
    .meta({ description: "variables of the scheduler's commands there: SLURM_CONF, SGE_ROOT, …" }),
});

const adapterEntry = z.strictObject({
  module: pathText(
    "ES module (.ts, .mts, .js, .mjs) that exports siteagentAdapter; nobody else may be able to write it",
  ),
  options: z.record(z.string(), z.json()).default({}).meta({ description: "what the module's own schema asks for" }),
});

const targetSchema = z
  .object({
    host: z.string().meta({ description: "a name under hosts" }),
    launcher: z.string().meta({ description: "how attempts start: local, batch, pilot, or a name under adapters" }),
    slots: z.int().min(1).max(100_000).optional().meta({
      description: "attempts at the same time; default: the number of processors, for batch 100, for pilot 1000",
    }),
    cores: z.int().min(1).max(10_000_000).optional().meta({ description: "cores for all attempts together" }),
    memory: size().optional().meta({ description: "memory for all attempts together" }),
    gpus: gpusSchema.optional().meta({
      description: "GPUs for all attempts together: how many, or their ids; each attempt sees its own alone",
    }),
    gpu_vendor: z
      .enum(gpuVendors)
      .default("nvidia")
      .meta({ description: "whose GPUs: CUDA_VISIBLE_DEVICES, ROCR_VISIBLE_DEVICES or ZE_AFFINITY_MASK names them" }),
  })
  .catchall(z.json())
  .meta({ description: "a place to run; further keys belong to the launcher" });

const urlPrefix = z.string().min(1).max(4096).meta({ description: "a URL; stands for itself and all below its path" });

const remoteSchema = z
  .strictObject({
    url: urlPrefix.optional(),
    ssh: sshSchema.optional().meta({ description: "reach it by SSH, and move its files by SFTP or rsync" }),
    host: z.string().optional().meta({ description: "the same with the SSH settings of a name under hosts" }),
    s3: s3Schema.optional(),
    by: z.enum(["sftp", "rsync"]).optional().meta({
      description: "of ssh and host: what moves its files; rsync has to be installed at both ends; default: sftp",
    }),
    path: pathText(
      "of ssh, host and s3: directory there, or beginning of keys, that archive:/ stands for; absolute; default: /",
    ).optional(),
    verify: z.enum(["digest", "sample", "size"]).optional().meta({
      description:
        "of ssh, host and s3: digest (default): by sha256sum there or what an object store keeps, or by reading back; size: sizes alone; sample, of ssh and host: sizes, and 16 ranges of each output read back",
    }),
    existing: z.enum(["replace", "refuse"]).optional().meta({
      description:
        "of ssh, host and s3: what happens to another file that lies at a destination; default: replace, in one step",
    }),
    shell: z
      .boolean()
      .optional()
      .meta({ description: "of ssh and host: commands may be run there (sha256sum); default: true" }),
    preserve: z.boolean().optional().meta({
      description:
        "of ssh and host: permissions and modification times go along, of inputs and outputs; default: false",
    }),
    files: z
      .int()
      .min(1)
      .max(64)
      .optional()
      .meta({ description: "files moved at the same time, over all jobs; default: 4, of ssh and host 16, of s3 8" }),
    bandwidth: size()
      .refine((bytes) => bytes >= 1_024, "at least 1KiB")
      .optional()
      .meta({
        description: "bytes per second, both directions together, shared fairly by all jobs; default: no limit",
      }),
  })
  .meta({ description: "one of url, ssh, host and s3" });

const cacheSchema = z
  .strictObject({
    directory: pathText(
      "used by this agent alone; default: input-cache in the work directory of the first host on this machine",
    ).optional(),
    max_size: size().prefault("100GiB").meta({ description: "what was used least lately goes when there is more" }),
    place: z.enum(["copy", "link"]).default("copy").meta({
      description:
        "copy: each job gets a file of its own, which shares its blocks where the file system can; link: jobs share one file, which none may alter",
    }),
    trust: z.enum(["version", "digest"]).default("version").meta({
      description:
        "what tells that a file is the one in the cache; version: also the ETag, or size and time, that its source had then; digest: a SHA-256 alone, promised by the job or told by the source",
    }),
  })
  .meta({
    description: "inputs that jobs fetched are kept for later ones, by their SHA-256; without this key none is",
  });

const policySchema = z
  .strictObject({
    sources: z.array(urlPrefix).max(1000).default([]).meta({
      description: "where inputs may come from: scheme://host[:port]/path/; the host may begin with *. or be *",
    }),
    destinations: z.array(urlPrefix).max(1000).default([]).meta({ description: "where outputs may go, written alike" }),
    allow_private: z
      .array(z.string().min(1).max(255))
      .max(1000)
      .default([])
      .meta({ description: "private addresses, networks (CIDR) or host names that allowed hosts may lie in" }),
    images: z.array(z.string().min(1).max(4096)).max(1000).default([]).meta({
      description:
        "container images that may run: registry.example.org/path/ or /directory/ and all below, one image, or sha256:…; empty: those that apps name in full",
    }),
  })
  .meta({ description: "what URLs of jobs are allowed, and which images; empty: none" });

const hookLimits = z
  .strictObject({
    max_timeout: duration().prefault("1h").meta({ description: "ceiling of a hook's time limit" }),
    max_output: size().prefault("1MiB").meta({ description: "output of a hook that is kept" }),
  })
  .meta({ description: "limits of hooks" });

export const siteSchema = z
  .strictObject({
    $schema: z.string().optional().meta({ description: "for editors; no meaning here" }),
    site: siteName,
    api: apiSchema,
    agent: agentSchema.prefault({}),
    adapters: z.record(nameSchema, adapterEntry).default({}).meta({
      description: "schedulers, launchers, hosts and transfers of the site's own, by the name the rest calls them",
    }),
    hosts: z
      .record(nameSchema, hostSchema)
      .prefault({ here: {} })
      .meta({ description: "where commands run and files live" }),
    targets: z
      .record(nameSchema, targetSchema)
      .prefault({ local: { host: "here", launcher: "local" } })
      .meta({ description: "named places to run" }),
    remotes: z
      .record(
        z
          .string()
          .regex(/^[a-z][a-z0-9_-]{1,31}$/, "a name: a small letter, then small letters, digits, _ or -, 2 to 32"),
        remoteSchema,
      )
      .prefault({})
      .meta({ description: "places that files come from and go to, as archive:/path in from, to and policy" }),
    globus: globusSchema.optional(),
    policy: policySchema.prefault({}),
    cache: cacheSchema.optional(),
    max_output: size()
      .prefault("1GiB")
      .meta({ description: "ceiling of each of stdout and stderr as stored, for all apps" }),
    hooks: hookLimits.prefault({}),
    retry: retrySchema.optional().meta({ description: "retry policy of apps that have none of their own" }),
    apps: z
      .record(nameSchema, appSchema)
      .meta({ description: "which workflows the site serves; nothing else can run" }),
  })
  .meta({ title: "siteagent site file", description: "What a site is, where it runs and which apps it offers." });

/** The file as written. */
export type SiteInput = z.input<typeof siteSchema>;
/** The file with defaults; durations in ms, sizes in bytes. */
export type SiteSettings = z.output<typeof siteSchema>;

/** Slots of a target that names none. */
export function defaultSlots(): number {
  return availableParallelism();
}
