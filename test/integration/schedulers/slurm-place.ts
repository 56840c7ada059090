import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { LocalHost } from "../../../src/hosts/local/index.ts";
import { createSlurm } from "../../../src/schedulers/slurm/index.ts";
import type { Scheduler } from "../../../src/schedulers/types.ts";
import type { SchedulerHarness } from "../../conformance/scheduler.ts";
import { SlurmCluster } from "../../helpers/engines/slurm-cluster.ts";
import type { SlurmOptions } from "../../helpers/engines/slurm-config.ts";

/** What a small job asks for in a cluster of tests. */
export const small = {
  resources: { nodes: 1, ranks_per_node: 1, threads_per_rank: 1, gpus: 0, memory: 50 * 2 ** 20 },
  walltimeS: 1_800,
  placement: { native: [] },
} as const;

/** The adapter over a cluster, its commands run on this host. */
export function slurmOf(cluster: SlurmCluster, environment: Readonly<Record<string, string>> = {}): Scheduler {
  const host = new LocalHost({ name: "here", workdir: workdirOf(cluster) });
  return createSlurm({ host, environment: { ...cluster.environment, ...environment } });
}

export function workdirOf(cluster: SlurmCluster): string {
  return join(cluster.directory, "work");
}

/** A cluster with the directory of its jobs. */
export async function startCluster(options: SlurmOptions = {}): Promise<SlurmCluster> {
  const cluster = await SlurmCluster.start(options);
  await mkdir(workdirOf(cluster), { mode: 0o755 });
  return cluster;
}

/** The contract's harness. */
export async function slurmHarness(options: SlurmOptions): Promise<SchedulerHarness> {
  const cluster = await startCluster(options);
  return {
    scheduler: slurmOf(cluster),
    workdir: workdirOf(cluster),
    small,
    waiting: ["--begin=now+2hours"],
    wrongQueue: "nonesuch",
    neverUsedId: "4000000",
    async outage() {
      await cluster.stop("slurmctld");
      return { [Symbol.asyncDispose]: () => cluster.startController() };
    },
    [Symbol.asyncDispose]: () => cluster[Symbol.asyncDispose](),
  };
}
