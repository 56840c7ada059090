/** How an app's command is wrapped: run as it is, on a terminal, in a container, or out of an archive. */
import { z } from "zod";
import { size } from "../common/zod-units.ts";

/** Why a path cannot be mounted; undefined when it can. Engines take `:` and `,` for the end of a path, and no engine quotes alike. */
export function mountFlaw(path: string): string | undefined {
  if (!path.startsWith("/")) return "is not absolute";
  if (/[:,"'\\\p{Cc}]/u.test(path)) return "holds a colon, comma, quote, backslash or control character";
  const steps = path.replace(/\/$/, "").split("/").slice(1);
  return steps.some((step) => step === "" || step === "." || step === "..")
    ? "is not plain: // or . or .. in it"
    : undefined;
}

const mountPath = z
  .string()
  .max(4096)
  .superRefine((path, context) => {
    const flaw = mountFlaw(path);
    if (flaw !== undefined)
      context.addIssue({ code: "custom", message: `'${path}' ${flaw}; allowed: an absolute path` });
  });

const mountSchema = z.strictObject({
  path: mountPath.meta({ description: "absolute path on the host" }),
  at: mountPath.optional().meta({ description: "absolute path inside; default: the same" }),
  write: z.boolean().default(false).meta({ description: "true: the job may change what is there" }),
});
export type Mount = z.output<typeof mountSchema>;

/** A further option of an engine is one word of the long form, so that it can be told from the image. */
function optionSchema(own: readonly string[]): z.ZodType<string, string> {
  return z
    .string()
    .max(4096)
    .superRefine((word, context) => {
      const name = /^--([a-z][a-z0-9-]*)(?:=.*)?$/s.exec(word)?.[1];
      if (name === undefined) {
        context.addIssue({
          code: "custom",
          message: `'${word}' is not one option in one word; allowed: --name, --name=value`,
        });
      } else if (own.includes(name)) {
        const message = `'--${name}' is set by siteagent; allowed: other options, or the app's own keys`;
        context.addIssue({ code: "custom", message });
      }
    });
}

/** What every engine takes. */
function common(own: readonly string[], program: string) {
  return {
    image: z.string().min(1).max(4096).meta({
      description:
        "the image, best with its digest (NAME@sha256:…); may hold {{parameters}} where policy.images is given",
    }),
    mounts: z
      .array(mountSchema)
      .max(256)
      .default([])
      .meta({ description: "what of the host the job sees besides its own in/, work/ and tmp/" }),
    network: z
      .enum(["host", "none"])
      .default("host")
      .meta({ description: "host: the machine's, as for a plain command" }),
    entrypoint: z
      .boolean()
      .default(false)
      .meta({ description: "true: the image's entry point runs, with the command as its arguments" }),
    program: z.string().min(1).max(4096).default(program).meta({ description: "path or name of the engine's program" }),
    options: z
      .array(optionSchema(own))
      .max(256)
      .default([])
      .meta({ description: "further options of the engine, each in one word, as --shm-size=1g" }),
  };
}

/** What we say to `run` of Podman and Docker, or what would take a container out of our hands. */
const runOptions = [
  ...[
    "attach",
    "cgroup-parent",
    "cgroups",
    "cidfile",
    "detach",
    "detach-keys",
    "entrypoint",
    "env",
    "env-file",
    "env-host",
  ],
  ...[
    "init",
    "interactive",
    "log-driver",
    "mount",
    "name",
    "net",
    "network",
    "pid",
    "pod",
    "pull",
    "replace",
    "restart",
    "rm",
  ],
  ...["sig-proxy", "tty", "user", "userns", "volume", "workdir"],
];

const pull = z
  .enum(["missing", "never", "always"])
  .default("missing")
  .meta({ description: "when the image is fetched; never: it must be there" });

const apptainerOptions = [
  "bind",
  "cleanenv",
  "contain",
  "containall",
  "cwd",
  "env",
  "env-file",
  "home",
  "mount",
  "net",
];
const apptainerSchema = z
  .strictObject(common([...apptainerOptions, "network", "no-eval", "no-home", "no-mount", "pwd"], "apptainer"))
  .meta({
    description:
      "Apptainer or Singularity (`program: singularity`); images are files, directories, docker://, oras:// or library://",
  });

const podmanSchema = z
  .strictObject({
    ...common([...runOptions, "group-add"], "podman"),
    pull,
    user: z.enum(["self", "root"]).default("self").meta({
      description: "who our account is inside; root needs no subordinate ids, and files are ours all the same",
    }),
  })
  .meta({ description: "Podman with crun: the container stays among the attempt's processes" });

const dockerSchema = z
  .strictObject({ ...common(runOptions, "docker"), pull })
  .meta({ description: "Docker: the container runs under its daemon; only on targets of the agent's own machine" });

const engines = { apptainer: apptainerSchema, podman: podmanSchema, docker: dockerSchema };
export type ContainerEngine = keyof typeof engines;

const zipSchema = z
  .strictObject({
    archive: z.string().min(1).max(4096).optional().meta({ description: "a file of the site" }),
    input: z.string().max(64).optional().meta({
      description: "name of an input; its `from` has no places, or its sha256 has none: no job chooses the program",
    }),
    sha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/, "64 hexadecimal digits")
      .optional()
      .meta({ description: "digest of the archive, checked before each attempt" }),
    into: z
      .string()
      .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, "a name: a letter or digit, then letters, digits, . _ -, at most 64")
      .default("app")
      .meta({ description: "directory below work/; what is there is replaced at each attempt" }),
    max_size: size().prefault("1GiB"),
  })
  .refine(({ archive, input }) => (archive === undefined) !== (input === undefined), {
    message: "either an archive or an input is needed; allowed: archive: PATH, input: NAME, one of them",
  })
  .meta({
    description:
      "a ZIP archive is unpacked into work/app/, then the command runs, as app/bin/tool; only on this machine",
  });

export const runtimeSchema = z.union([
  z.enum(["plain", "pty"]),
  z
    .strictObject({
      apptainer: apptainerSchema.optional(),
      podman: podmanSchema.optional(),
      docker: dockerSchema.optional(),
      zip: zipSchema.optional(),
    })
    .refine((choice) => Object.values(choice).filter((value) => value !== undefined).length === 1, {
      message: `one runtime is needed; allowed: ${[...Object.keys(engines), "zip"].join(", ")}, one of them`,
    })
    .meta({ minProperties: 1, maxProperties: 1 }),
]);
export type Runtime = z.output<typeof runtimeSchema>;

/** The container of a runtime. */
export type Container =
  | { readonly engine: "apptainer"; readonly spec: z.output<typeof apptainerSchema> }
  | { readonly engine: "podman"; readonly spec: z.output<typeof podmanSchema> }
  | { readonly engine: "docker"; readonly spec: z.output<typeof dockerSchema> };

/** The container in which a runtime runs commands; undefined when it runs them as they are. */
export function containerOf(runtime: Runtime): Container | undefined {
  if (typeof runtime === "string") return undefined;
  if (runtime.apptainer) return { engine: "apptainer", spec: runtime.apptainer };
  if (runtime.podman) return { engine: "podman", spec: runtime.podman };
  return runtime.docker && { engine: "docker", spec: runtime.docker };
}

/** The archive that a runtime unpacks; undefined for all others. */
export function zipOf(runtime: Runtime): z.output<typeof zipSchema> | undefined {
  return typeof runtime === "string" ? undefined : runtime.zip;
}

/** The word for a runtime: plain, pty, zip, or the engine. */
export function runtimeName(runtime: Runtime): string {
  return typeof runtime === "string" ? runtime : (containerOf(runtime)?.engine ?? "zip");
}

/**
 * True for variables that act on an engine's own program, which runs outside the container: they go into the container past it, and
 * those that the agent hands on stay outside.
 */
export function actsOnEngine(name: string): boolean {
  return /^(?:PATH|HOME|TMPDIR|LD_.*|GO[A-Z]+|XDG_.*|DBUS_.*|(?:DOCKER|PODMAN|CONTAINERS?|BUILDAH|STORAGE|REGISTRY|APPTAINER|SINGULARITY|SSL_CERT)_.*|(?:APPTAINER|SINGULARITY)ENV_.*)$/.test(
    name,
  );
}
