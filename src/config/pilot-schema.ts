/** Keys of a target whose launcher is `pilot`. */
import { z } from "zod";
import { duration, size } from "../common/zod-units.ts";
import { gpusSchema } from "../jobs/gpus.ts";
import type { AttemptLimits } from "../jobs/resources.ts";
import { checkQueue, line, schedulerShape } from "./batch-schema.ts";

const count = z.int().min(0).max(10_000);

export const pilotSchema = z
  .strictObject({
    ...schedulerShape,
    nodes: z.int().min(1).max(10_000).default(1).meta({ description: "nodes of one allocation" }),
    node_starter: z.array(line).max(100).optional().meta({
      description:
        "argv that runs one copy of a program on each node of an allocation; default for slurm: srun with one task on each node",
    }),
    node_cores: z.int().min(1).max(100_000).meta({ description: "cores of one node that attempts share" }),
    node_memory: size()
      .optional()
      .meta({ description: "memory of one node that attempts share; default: not counted" }),
    node_gpus: gpusSchema.default(0).meta({
      description: "GPUs of one node: how many, or their ids; each attempt sees its own alone",
    }),
    exclusive: z.boolean().default(true).meta({ description: "whole nodes for each allocation" }),
    walltime: duration().meta({ description: "time of one allocation" }),
    margin: duration().prefault("60s").meta({
      description: "so long before its end an allocation ends what still runs in it; such attempts are no tries",
    }),
    start: duration().prefault("60s").meta({
      description:
        "time that an allocation may need from its begin until it runs attempts; an attempt that needs more than walltime without margin and start is refused",
    }),
    idle: duration().prefault("5m").meta({ description: "an allocation without work ends after so long" }),
    min_allocations: count.default(0).meta({ description: "so many are kept, with and without work" }),
    max_allocations: count.min(1).default(1).meta({ description: "never more, those that wait in the queue included" }),
    backlog: z.int().min(1).max(1_000_000).default(1).meta({
      description:
        "a further allocation is asked for when so many attempts wait that those asked for have no room for, …",
    }),
    backlog_wait: duration()
      .optional()
      .meta({ description: "… and the first of them has waited so long; default: at once" }),
    queue_limit: duration().optional().meta({
      description:
        "longest time that an attempt may wait for room in an allocation; then it ends with cause launch and what it waited for; an agent that starts counts anew; default: no limit",
    }),
  })
  .check(({ value, issues }) => {
    const add = (key: string, message: string, input: unknown): void =>
      void issues.push({ code: "custom", message, input, path: [key] });
    const queue = checkQueue(value);
    if (queue !== undefined) add("queue", queue, value.queue);
    if (value.min_allocations > value.max_allocations)
      add("min_allocations", "more than max_allocations", value.min_allocations);
    if (value.walltime <= value.margin + value.start)
      add("walltime", "must be longer than margin and start together", value.walltime);
    if (value.nodes > 1 && value.node_starter === undefined && value.scheduler !== "slurm")
      add("nodes", "more than one node needs node_starter, which starts the node agents", value.nodes);
  })
  .meta({ description: "Attempts are packed into allocations of the scheduler" });
export type PilotSettings = z.output<typeof pilotSchema>;

/** What one attempt can have of an allocation, and how long. */
export function pilotLimits(settings: PilotSettings): AttemptLimits {
  const {
    nodes,
    node_cores: nodeCores,
    node_memory: nodeMemoryBytes,
    node_gpus: gpus,
    walltime,
    margin,
    start,
  } = settings;
  const nodeGpus = typeof gpus === "number" ? gpus : gpus.length;
  return { nodes, nodeCores, nodeMemoryBytes, nodeGpus, walltimeMs: walltime - margin - start };
}
