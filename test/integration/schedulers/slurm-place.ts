import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { LocalHost } from "../../../src/hosts/local/index.ts";
import { createSlurm } from "../../../src/schedulers/slurm/index.ts";
import { newToken } from "../../../src/common/token.ts";
import type {
  ScheduledJob,
  ScheduledStatus,
  Scheduler,
  SubmitRequest,
  Verdict,
} from "../../../src/schedulers/types.ts";
import type { SchedulerHarness } from "../../../src/conformance/scheduler/index.ts";
import { SlurmCluster } from "../../helpers/engines/slurm-cluster.ts";
import type { SlurmOptions } from "../../helpers/engines/slurm-config.ts";
import { waitFor } from "../../helpers/wait.ts";
import { context } from "../launchers/attempts.ts";

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
  // The outage of the suite is waited for by several commands in turn.
  const cluster = await startCluster({ ...options, settings: { MessageTimeout: "5", ...options.settings } });
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

export function requestFor(directory: string, body: string, more: Partial<SubmitRequest> = {}): SubmitRequest {
  const token = more.token ?? newToken();
  return { token, tasks: 1, ...small, directory, log: join(directory, `${token}.log`), body, ...more };
}

/** Submits it and gives the job. */
export async function submitted(scheduler: Scheduler, request: SubmitRequest): Promise<ScheduledJob> {
  const [result] = await scheduler.submit([request], context);
  if (result?.state !== "submitted") throw new Error(`not submitted: ${JSON.stringify(result)}`);
  return result.job;
}

export async function statusOf(scheduler: Scheduler, job: ScheduledJob): Promise<ScheduledStatus> {
  const [status] = await scheduler.statuses([job], context);
  if (!status) throw new Error("no status");
  return status;
}

/** Waits until its status is of that state and `fits`. */
export async function until<State extends ScheduledStatus["state"]>(
  scheduler: Scheduler,
  job: ScheduledJob,
  state: State,
  fits: (status: Extract<ScheduledStatus, { state: State }>) => boolean = () => true,
): Promise<Extract<ScheduledStatus, { state: State }>> {
  let last: ScheduledStatus | undefined;
  return await waitFor(
    async () => {
      last = await statusOf(scheduler, job);
      if (last.state !== state) return undefined;
      const status = last as Extract<ScheduledStatus, { state: State }>;
      return fits(status) ? status : undefined;
    },
    { what: () => `${state}; last: ${JSON.stringify(last)}`, timeoutMs: 120_000, intervalMs: 200 },
  );
}

export async function ended(scheduler: Scheduler, job: ScheduledJob): Promise<Verdict> {
  return (await until(scheduler, job, "ended")).verdict;
}
