/** Keys of targets whose launcher asks a scheduler; all of those of `batch`. */
import { z } from "zod";
import { duration, size } from "../common/zod-units.ts";
import type { AttemptLimits } from "../jobs/resources.ts";

/** Batch schedulers that there are adapters for. */
export const schedulerKinds = ["slurm", "pbs", "sge"] as const;
export type SchedulerKind = (typeof schedulerKinds)[number];

/** One line without control characters: it becomes a line of the job script. */
export const line = z
  .string()
  .min(1)
  .max(1000)
  .regex(/^\P{Cc}*$/u, "one line without control characters");

const word = (description: string) => line.meta({ description }).optional();

/** Keys of all targets whose attempts or allocations are jobs of a scheduler. */
export const schedulerShape = {
  scheduler: z
    .string()
    .min(1)
    .max(64)
    .meta({
      description: "slurm; pbs: OpenPBS, PBS Pro, Torque; sge: Grid Engine; or a name under adapters",
      examples: [...schedulerKinds],
    }),
  partition: word("queue of the scheduler, as Slurm calls it; the same as queue"),
  queue: word("queue of the scheduler"),
  account: word("account that is charged"),
  project: word("project, where the scheduler has one beside the account"),
  qos: word("quality of service"),
  constraint: word("features that nodes must have"),
  reservation: word("reservation to run in"),
  licenses: word("licences that jobs take"),
  parallel_environment: word("Grid Engine: the parallel environment of attempts with more than one core"),
  native: z
    .array(line)
    .max(100)
    .default([])
    .meta({ description: "further options of the submit command, one word each" }),
  preamble: z.array(line).max(100).default([]).meta({
    description: "lines of shell before the command or an allocation's node agents: module loads and the like",
  }),
  poll: duration().prefault("30s").meta({
    description:
      "shortest time between two queries of the scheduler; of several targets on the same scheduler the longest counts",
  }),
  confirmations: z.int().min(0).max(1000).default(10).meta({
    description:
      "queries out of turn in the time of one poll, for ends that were noticed meanwhile; one tells of all of them",
  }),
  submit_rate: z.int().min(1).max(1_000_000).optional().meta({
    description:
      "jobs and arrays that are submitted in a minute at most; of several targets on the same scheduler the lowest counts; others wait and are tried again; default: no limit",
  }),
  record_patience: duration().prefault("60s").meta({
    description: "how long an exit record may show late on the file system after the scheduler said that a job is over",
  }),
  lost_after: duration().prefault("30m").meta({
    description: "after so long a job that scheduler and exit record know nothing of counts as lost",
  }),
  settle: duration().prefault("30s").meta({
    description:
      "how long after an unclear submission the scheduler must not show the job before it is submitted again",
  }),
};

/** Two words for the same. */
export function checkQueue(settings: {
  readonly partition?: string | undefined;
  readonly queue?: string | undefined;
}): string | undefined {
  if (settings.partition === undefined || settings.queue === undefined) return undefined;
  return "partition and queue are the same; give one";
}

const most = (description: string) => z.int().min(0).max(100_000_000).meta({ description }).optional();

const limitsSchema = z
  .strictObject({
    nodes: z.int().min(1).max(1_000_000).meta({ description: "nodes" }).optional(),
    node_cores: most("cores on one node"),
    node_memory: size().meta({ description: "memory on one node" }).optional(),
    node_gpus: most("GPUs on one node"),
    cores: most("cores on all nodes together"),
    memory: size().meta({ description: "memory on all nodes together" }).optional(),
    gpus: most("GPUs on all nodes together"),
    walltime: duration()
      .meta({ description: "time that the scheduler may be asked for: walltime, grace and walltime_margin together" })
      .optional(),
  })
  .meta({
    description: "what the queue gives one attempt at most; an app that asks for more is refused before anything is",
  });

export const batchSchema = z
  .strictObject({
    ...schedulerShape,
    limits: limitsSchema.prefault({}),
    exclusive: z.boolean().default(false).meta({ description: "whole nodes for each attempt" }),
    arrays: z
      .boolean()
      .default(true)
      .meta({ description: "alike attempts that are ready together go as one array, where the scheduler has them" }),
    walltime_margin: duration().prefault("60s").meta({
      description: "asked of the scheduler beyond an attempt's walltime and grace, so that its own limit comes first",
    }),
    verdict_patience: duration().prefault("2m").meta({
      description: "how long an exit record waits for a scheduler that cannot be asked before a success is believed",
    }),
    queue_limit: duration().optional().meta({
      description:
        "longest time that an attempt may wait in the queue, also held or with a request that nothing can fulfil; then it is taken out and ends with cause launch and the scheduler's last reason; default: no limit",
    }),
    trust_accounting: z.boolean().default(false).meta({
      description:
        "an attempt that began, left no exit record, and of which the scheduler says that it completed with exit code 0 is a success; otherwise it ends as status-lost",
    }),
  })
  .check(({ value, issues }) => {
    const message = checkQueue(value);
    if (message !== undefined) issues.push({ code: "custom", message, input: value.queue, path: ["queue"] });
    const { walltime: input } = value.limits;
    const path = ["limits", "walltime"];
    if (input !== undefined && input <= value.walltime_margin)
      issues.push({ code: "custom", message: "must be longer than walltime_margin", input, path });
  })
  .meta({ description: "Each attempt is a job of the scheduler" });
export type BatchSettings = z.output<typeof batchSchema>;

/** What one attempt can have of the target's queue. */
export function batchLimits({ limits, walltime_margin: marginMs }: BatchSettings): AttemptLimits {
  const { node_cores: nodeCores, node_memory: nodeMemoryBytes, node_gpus: nodeGpus, memory: memoryBytes } = limits;
  const { nodes, cores, gpus, walltime } = limits;
  const walltimeMs = walltime === undefined ? undefined : walltime - marginMs;
  return { nodes, nodeCores, nodeMemoryBytes, nodeGpus, cores, memoryBytes, gpus, walltimeMs };
}
