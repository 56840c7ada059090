/**
 * The words that an MPI starter puts before a command: pure. Every size is said on its line, none is left to what the starter finds in the
 * environment (Slurm 22.05 to 23.02 does not hand `--cpus-per-task` from sbatch to srun).
 */
import { mpiShape, type MpiShape, type MpiSpec, type MpiStarter, mpiStarters } from "../jobs/mpi.ts";
import type { Resources } from "../jobs/app.ts";
import { parseTemplate } from "../jobs/template.ts";

export interface Starting {
  readonly shape: MpiShape;
  /** Each rank is bound to cores of its own. */
  readonly bind: boolean;
  /** Names of the variables that ranks on other nodes must see; values never enter an argument. */
  readonly variables: readonly string[];
}

/** Starter and options; the command follows. `shared`: others run on the cores that the starter sees, which it would bind to as well. */
export function starterWords(
  mpi: MpiSpec,
  resources: Resources,
  place: { readonly shared: boolean; readonly variables: readonly string[] },
): readonly [string, ...string[]] {
  const shape = mpiShape(resources);
  if (typeof mpi.starter !== "string") {
    const [program, ...words] = mpi.starter.map((text) => fillPlaces(text, shape));
    return [program ?? "", ...words, ...mpi.options];
  }
  const bind = (mpi.bind ?? (place.shared ? "none" : "cores")) === "cores";
  const words = builtIn[mpi.starter]({ shape, bind, variables: place.variables });
  return [mpi.program ?? mpiStarters[mpi.starter].program, ...words, ...mpi.options];
}

/**
 * Words behind a starter's program that say on which nodes of an allocation it starts the ranks, beside others who do the same on theirs;
 * undefined: it cannot be told.
 */
export function nodeWords(
  starter: MpiStarter,
  hosts: readonly string[],
  { nodes, ranks_per_node: ranks }: Resources,
): readonly string[] | undefined {
  const list = hosts.join(",");
  const slots = hosts.map((host) => `${host}:${ranks}`).join(",");
  // mpirun(1), mpiexec(1): on the node where they run they need no names.
  const here = nodes === 1;
  switch (starter) {
    case "srun":
      // srun(1): cores are shared with other steps, and their number alone would bind the step to cores that others may have as well.
      return ["--overlap", "--whole", `--nodelist=${list}`];
    case "mpiexec-openmpi":
      return here ? [] : ["--host", slots];
    case "mpiexec-hydra":
      return here ? [] : ["-hosts", slots];
    case "mpiexec-pals":
      return ["--hosts", list];
    case "mpirun":
      return here ? [] : undefined;
    case "aprun":
    case "jsrun":
    case "flux":
      return undefined;
  }
}

/**
 * Variables for a starter on nodes that others share. Open MPI and MPICH start their daemons by srun where they find Slurm: as steps that
 * wait for nobody's cores (srun(1): SLURM_OVERLAP, SLURM_WHOLE). Open MPI takes the tasks that the allocation was asked for, one on each node,
 * for all that it may start, unless it is to look away from them.
 */
export function starterVariables(starter: MpiStarter): Readonly<Record<string, string>> {
  const steps = { SLURM_OVERLAP: "1", SLURM_WHOLE: "1" };
  switch (starter) {
    case "mpiexec-openmpi":
      return { ...steps, OMPI_MCA_ras: "^slurm", PRTE_MCA_ras: "^slurm" };
    case "mpiexec-hydra":
      return steps;
    default:
      return {};
  }
}

/** Why a starter would not hand on an argument as it is; undefined when it does. */
export function starterFlaw(argument: string): string | undefined {
  // mpiexec, mpirun, aprun, jsrun and srun take it, wherever it stands, as the end of one program and the beginning of another's options.
  return argument === ":" ? "':' alone would begin another program for the MPI starter" : undefined;
}

function fillPlaces(text: string, shape: MpiShape): string {
  return parseTemplate(text)
    .parts.map((part) => ("literal" in part ? part.literal : String(shape[part.name as keyof MpiShape])))
    .join("");
}

const builtIn: Readonly<Record<MpiStarter, (starting: Starting) => readonly string[]>> = {
  srun,
  "mpiexec-openmpi": openMpi,
  "mpiexec-hydra": hydra,
  "mpiexec-pals": pals,
  mpirun: ({ shape }) => ["-n", String(shape.ranks)],
  aprun,
  jsrun,
  flux,
};

/** GPUs for each rank where they can be shared out evenly; undefined: the ranks of a node share them. */
function gpusPerRank({ gpus_per_node: gpus, ranks_per_node: ranks }: MpiShape): number | undefined {
  return gpus > 0 && gpus % ranks === 0 ? gpus / ranks : undefined;
}

/** srun(1). A script submitted with `--export=NONE` hands that on to srun unless it is told otherwise. */
function srun({ shape, bind }: Starting): readonly string[] {
  const each = gpusPerRank(shape);
  return [
    `--nodes=${shape.nodes}`,
    `--ntasks=${shape.ranks}`,
    `--ntasks-per-node=${shape.ranks_per_node}`,
    `--cpus-per-task=${shape.cores_per_rank}`,
    ...(each === undefined ? [] : [`--gpus-per-task=${each}`]),
    ...(each === undefined && shape.gpus_per_node > 0 ? [`--gpus-per-node=${shape.gpus_per_node}`] : []),
    `--cpu-bind=${bind ? "cores" : "none"}`,
    "--kill-on-bad-exit=1",
    "--export=ALL",
  ];
}

/** mpirun(1) of Open MPI 4 and 5. Ranks on other nodes see only variables that are named. */
function openMpi({ shape, bind, variables }: Starting): readonly string[] {
  const map = `ppr:${shape.ranks_per_node}:node`;
  return [
    "-n",
    String(shape.ranks),
    "--map-by",
    bind ? `${map}:PE=${shape.cores_per_rank}` : map,
    "--bind-to",
    bind ? "core" : "none",
    ...(shape.nodes > 1 ? variables.flatMap((name) => ["-x", name]) : []),
  ];
}

/** mpiexec(1) of MPICH; not bound is its default, and leaves Intel MPI its own pinning. All variables are handed on. */
function hydra({ shape, bind }: Starting): readonly string[] {
  return [
    "-n",
    String(shape.ranks),
    "-ppn",
    String(shape.ranks_per_node),
    ...(bind ? ["-bind-to", `core:${shape.cores_per_rank}`] : []),
  ];
}

/** mpiexec(1) of the Cray Parallel Application Launch Service. */
function pals({ shape, bind }: Starting): readonly string[] {
  return [
    "-n",
    String(shape.ranks),
    "--ppn",
    String(shape.ranks_per_node),
    "--depth",
    String(shape.cores_per_rank),
    "--cpu-bind",
    bind ? "depth" : "none",
  ];
}

/** aprun(1) of Cray ALPS. */
function aprun({ shape, bind }: Starting): readonly string[] {
  return [
    "-n",
    String(shape.ranks),
    "-N",
    String(shape.ranks_per_node),
    "-d",
    String(shape.cores_per_rank),
    "-cc",
    bind ? "depth" : "none",
  ];
}

/** jsrun(1): a resource set for each rank, or for each node where its ranks share the GPUs. */
function jsrun({ shape, bind }: Starting): readonly string[] {
  const each = shape.gpus_per_node === 0 ? 0 : gpusPerRank(shape);
  const ranks = each === undefined ? shape.ranks_per_node : 1;
  const setsPerNode = shape.ranks_per_node / ranks;
  return [
    "-n",
    String(shape.nodes * setsPerNode),
    "-r",
    String(setsPerNode),
    "-a",
    String(ranks),
    "-c",
    String(shape.cores_per_rank * ranks),
    "-g",
    String(each ?? shape.gpus_per_node),
    "-b",
    bind ? `packed:${shape.cores_per_rank}` : "none",
  ];
}

/** flux-run(1): its options by rank, or those by node where ranks share the GPUs; the two kinds cannot be mixed. */
function flux({ shape, bind }: Starting): readonly string[] {
  const each = shape.gpus_per_node === 0 ? 0 : gpusPerRank(shape);
  const sizes =
    each === undefined
      ? [
          `--tasks-per-node=${shape.ranks_per_node}`,
          `--cores=${shape.ranks * shape.cores_per_rank}`,
          `--gpus-per-node=${shape.gpus_per_node}`,
        ]
      : [
          `--ntasks=${shape.ranks}`,
          `--cores-per-task=${shape.cores_per_rank}`,
          ...(each > 0 ? [`--gpus-per-task=${each}`] : []),
        ];
  return ["run", `--nodes=${shape.nodes}`, ...sizes, "-o", `cpu-affinity=${bind ? "per-task" : "off"}`];
}
