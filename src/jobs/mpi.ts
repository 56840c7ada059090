/** MPI starters: which there are, what an app may say about them, and how big an MPI program is. */
import { z } from "zod";
import { quoted } from "../common/nearest.ts";
import type { Resources } from "./app.ts";
import { coresPerNode, totalRanks } from "./resources.ts";
import { parseTemplate, type TemplateProblem } from "./template.ts";

/**
 * Starters that are built in, with the program each is by default, whether it starts ranks in a scheduler's allocation only, and whether it
 * can be told on which nodes of one.
 */
export const mpiStarters = {
  srun: { program: "srun", allocation: true, takesNodes: true },
  "mpiexec-openmpi": { program: "mpiexec", allocation: false, takesNodes: true },
  "mpiexec-hydra": { program: "mpiexec", allocation: false, takesNodes: true },
  "mpiexec-pals": { program: "mpiexec", allocation: true, takesNodes: true },
  mpirun: { program: "mpirun", allocation: false, takesNodes: false },
  aprun: { program: "aprun", allocation: true, takesNodes: false },
  jsrun: { program: "jsrun", allocation: true, takesNodes: false },
  flux: { program: "flux", allocation: true, takesNodes: false },
} as const satisfies Record<string, { program: string; allocation: boolean; takesNodes: boolean }>;
export type MpiStarter = keyof typeof mpiStarters;

/** What places in a starter of the site's own stand for; no value of a job is among them. */
export const starterPlaces = {
  nodes: "nodes",
  ranks: "ranks on all nodes together",
  ranks_per_node: "ranks on each node",
  threads_per_rank: "threads of each rank",
  cores_per_rank: "whole cores for each rank",
  gpus_per_node: "GPUs on each node",
} as const;
export type MpiShape = Readonly<Record<keyof typeof starterPlaces, number>>;

const starterNames = Object.keys(mpiStarters) as [MpiStarter, ...MpiStarter[]];
const word = z.string().max(4096);

export const mpiSchema = z
  .strictObject({
    starter: z.union([z.enum(starterNames), z.array(word).min(1).max(256)]).meta({
      description: "how ranks are started: a built-in starter, or argv of the site's own with {{ranks}} and the like",
    }),
    program: word.min(1).optional().meta({
      description: "path or name of a built-in starter's program; default: srun, mpiexec, mpirun, aprun, jsrun, flux",
    }),
    options: z
      .array(word)
      .max(256)
      .default([])
      .meta({ description: "further words for the starter, after ours and before the command" }),
    bind: z.enum(["cores", "none"]).optional().meta({
      description:
        "cores: each rank is bound to cores of its own; default: cores in an allocation of its own, none where attempts share a machine or node",
    }),
  })
  .meta({ description: "the command is an MPI program: a starter runs it as ranks_per_node ranks on each node" });
export type MpiSpec = z.output<typeof mpiSchema>;

/** The numbers of an MPI program. A rank gets its share of the node's cores, rounded down: never fewer than its threads. */
export function mpiShape(resources: Resources): MpiShape {
  return {
    nodes: resources.nodes,
    ranks: totalRanks(resources),
    ranks_per_node: resources.ranks_per_node,
    threads_per_rank: resources.threads_per_rank,
    cores_per_rank: Math.floor(coresPerNode(resources) / resources.ranks_per_node),
    gpus_per_node: resources.gpus,
  };
}

/** What is wrong with a place in a starter of the site's own; undefined when nothing is. */
export function starterTemplateFlaw(text: string): TemplateProblem | undefined {
  const { parts, problems } = parseTemplate(text);
  if (problems[0]) return problems[0];
  for (const part of parts) {
    if ("name" in part && !Object.hasOwn(starterPlaces, part.name)) {
      return {
        message: `'{{${part.name}}}' in ${quoted(text)} is unknown`,
        value: part.name,
        known: Object.keys(starterPlaces),
      };
    }
  }
  return undefined;
}
