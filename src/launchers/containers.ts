/**
 * From a command to the command of a container engine: pure. Inside, the job sees its own directories at the paths that they have outside,
 * what the administrator mounts, and the variables of its plan; no value of a variable is written into an argument.
 */
import type { Account } from "../common/account.ts";
import type { Token } from "../common/token.ts";
import type { App } from "../jobs/app.ts";
import { type GpuVendor, gpuVariables } from "../jobs/gpus.ts";
import { actsOnEngine, type Container, mountFlaw } from "../jobs/runtime.ts";
import { attemptLabel, guarded } from "./engine-guard.ts";
import type { JobDirectories } from "./command.ts";
import type { Wrapped } from "./wrap.ts";

export interface Containing {
  readonly container: Container;
  readonly app: App;
  /** Filled and allowed. */
  readonly image: string;
  readonly argv: readonly [string, ...string[]];
  /** Variables that every attempt gets, and those of the app itself. */
  readonly environment: Readonly<Record<string, string>>;
  readonly own: Readonly<Record<string, string>>;
  readonly directories: JobDirectories;
  readonly token: Token;
  readonly account: Account;
  readonly gpus: {
    readonly vendor: GpuVendor;
    /** Those that are its alone; undefined: not given out by us. */
    readonly ids: readonly string[] | undefined;
    /** A scheduler's mask says which. */
    readonly scheduled: boolean;
  };
}

/** The command inside its container. */
export function inContainer(containing: Containing): Wrapped {
  const problems = mountsOf(containing).flatMap(({ path }) => {
    const flaw = mountFlaw(path);
    return flaw === undefined ? [] : [`'${path}' ${flaw}: it cannot be mounted into a container`];
  });
  switch (containing.container.engine) {
    case "apptainer":
      return { ...apptainer(containing, containing.container.spec), problems };
    case "podman":
      return { ...podman(containing, containing.container.spec), problems };
    case "docker":
      return { ...docker(containing, containing.container.spec), problems };
  }
}

type Spec<Engine extends Container["engine"]> = Extract<Container, { engine: Engine }>["spec"];

interface Bind {
  readonly path: string;
  readonly at: string;
  readonly write: boolean;
}

/** Inputs were verified and later attempts share them: nobody changes them. What programs write to /tmp goes with the job. */
function mountsOf({ app, directories, container }: Containing): readonly Bind[] {
  const same = (path: string, write: boolean): Bind => ({ path, at: path, write });
  const secrets = Object.values(app.parameters).some(({ type }) => type === "secret");
  return [
    { path: directories.tmp, at: "/tmp", write: true },
    same(directories.in, false),
    same(directories.work, true),
    same(directories.tmp, true),
    ...(secrets ? [same(directories.secrets, false)] : []),
    ...container.spec.mounts.map(({ path, at, write }) => ({ path, at: at ?? path, write })),
  ];
}

/**
 * apptainer(1). What its own process finds in the environment reaches the command, but for what the image sets; the app's own variables come
 * last by a prefix, with `--no-eval`: without it their values are text of a shell. Home and /tmp of the host stay outside.
 */
function apptainer(containing: Containing, spec: Spec<"apptainer">): Omit<Wrapped, "problems"> {
  const { argv, environment, own, directories, image, app, gpus } = containing;
  const prefix = /(?:^|\/)singularity[^/]*$/.test(spec.program) ? "SINGULARITYENV_" : "APPTAINERENV_";
  const inside = Object.entries(own).map(([name, value]) => [`${prefix}${name}`, value]);
  const gpu = { nvidia: ["--nv"], amd: ["--rocm"], intel: [] }[gpus.vendor];
  return {
    argv: [
      spec.program,
      spec.entrypoint ? "run" : "exec",
      "--no-eval",
      "--no-mount=tmp,cwd",
      `--home=${directories.tmp}`,
      ...mountsOf(containing).map(({ path, at, write }) => `--bind=${path}:${at}:${write ? "rw" : "ro"}`),
      `--pwd=${directories.work}`,
      ...(app.resources.gpus > 0 ? gpu : []),
      ...(spec.network === "none" ? ["--net", "--network=none"] : []),
      ...spec.options,
      image,
      ...argv,
    ],
    environment: { ...environment, ...outside(own), ...Object.fromEntries(inside) },
  };
}

/** podman-run(1). Without control groups of its own the container stays in the attempt's, and its monitor's parent is a recorder that is a subreaper. */
function podman(containing: Containing, spec: Spec<"podman">): Omit<Wrapped, "problems"> {
  const { uid, gid } = containing.account;
  const rootful = uid === 0;
  return runCommand(containing, spec, "podman", [
    "--cgroups=disabled",
    ...(rootful || spec.user === "root" ? ["--user=0:0"] : [`--user=${uid}:${gid}`, "--userns=keep-id"]),
    ...(rootful ? [] : ["--group-add=keep-groups"]),
    ...gpuOptions(containing, (id) => `--device=nvidia.com/gpu=${id}`),
  ]);
}

/** docker-run(1). Its container is the daemon's and in none of our control groups: memory is limited here. */
function docker(containing: Containing, spec: Spec<"docker">): Omit<Wrapped, "problems"> {
  const { account, app, gpus } = containing;
  return runCommand(containing, spec, "docker", [
    `--user=${account.uid}:${account.gid}`,
    ...account.groups.filter((group) => group !== account.gid).map((group) => `--group-add=${group}`),
    ...(app.resources.memory === undefined ? [] : [`--memory=${app.resources.memory}`]),
    // The quotes are the option's own: without them the comma would begin another of its fields.
    ...gpuOptions(containing, () => (gpus.ids === undefined ? "--gpus=all" : `--gpus="device=${gpus.ids.join(",")}"`)),
  ]);
}

/** What `run` of both is told. Variables are named alone: their values come from the environment of the engine's program, exact in every byte. */
function runCommand(
  containing: Containing,
  spec: Spec<"podman" | "docker">,
  engine: "podman" | "docker",
  more: readonly string[],
): Omit<Wrapped, "problems"> {
  const { token, argv, directories, image, environment, own, app } = containing;
  const [program, ...rest] = argv;
  const acting = Object.entries(own).filter(([name]) => actsOnEngine(name));
  const fixed = { HOME: directories.tmp, ...Object.fromEntries(acting) };
  const run = [
    "run",
    "--rm",
    `--name=${token}`,
    `--label=${attemptLabel}=${token}`,
    "--init",
    `--pull=${spec.pull}`,
    "--log-driver=none",
    `--network=${spec.network}`,
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    "--security-opt=label=disable",
    ...more,
    ...mountsOf(containing).map(
      ({ path, at, write }) => `--mount=type=bind,source=${path},target=${at}${write ? "" : ",readonly"}`,
    ),
    `--workdir=${directories.work}`,
    ...namesInside(containing, Object.keys(fixed)).map((name) => `--env=${name}`),
    ...Object.entries(fixed).map(([name, value]) => `--env=${name}=${value}`),
    ...spec.options,
    ...(spec.entrypoint ? [image, ...argv] : [`--entrypoint=${program}`, image, ...rest]),
  ];
  return {
    argv: guarded({ name: token, program: spec.program, graceMs: app.grace }, run),
    environment: { ...environment, ...outside(own) },
    container: { engine, program: spec.program, name: token },
  };
}

/** Variables that go in by name. A mask of GPUs counts among those of the container: where it has only its own, there is none. */
function namesInside({ environment, own, gpus }: Containing, fixed: readonly string[]): readonly string[] {
  const masks = gpus.scheduled ? gpuVariables : [];
  const names = new Set([...Object.keys(environment), ...Object.keys(own), ...masks]);
  const restricted = gpus.vendor === "nvidia" && gpus.ids !== undefined && gpus.ids.length > 0;
  return [...names]
    .filter(
      (name) =>
        !fixed.includes(name) &&
        (name === "TMPDIR" || !actsOnEngine(name)) &&
        !(restricted && gpuVariables.includes(name)),
    )
    .toSorted();
}

/** NVIDIA's by id; AMD's and Intel's by their devices, with the mask inside. */
function gpuOptions({ app, gpus }: Containing, nvidia: (id: string) => string): readonly string[] {
  if (app.resources.gpus === 0) return [];
  switch (gpus.vendor) {
    case "nvidia":
      return [...new Set((gpus.ids ?? ["all"]).map(nvidia))];
    case "amd":
      return ["--device=/dev/kfd", "--device=/dev/dri"];
    case "intel":
      return ["--device=/dev/dri"];
  }
}

/** The app's own variables, but for those that would act on the engine's program instead of the command. */
function outside(own: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(own).filter(([name]) => !actsOnEngine(name)));
}
