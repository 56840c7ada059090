/** What a node is told of an attempt: pure. */
import { gpuEnvironment, type GpuVendor } from "../../jobs/gpus.ts";
import { shareOf } from "../../jobs/resources.ts";
import { perlPlan } from "../../runner/plan-files.ts";
import { nodeWords, starterVariables } from "../mpi.ts";
import type { AttemptPlan } from "../types.ts";
import { needMs } from "./attempts.ts";
import type { RunOrder } from "./orders.ts";

export interface Ground {
  /** `PATH` that the preamble finds. */
  readonly path: string;
  readonly vendor: GpuVendor;
  readonly hasGpus: boolean;
}

export interface Room {
  /** Names of its nodes; the first starts it. */
  readonly hosts: readonly [string, ...string[]];
  /** Ids that are its own on each of them. */
  readonly gpus: readonly string[];
  /** How long it may take with its grace where it has no walltime: what an allocation has for one attempt; undefined = nobody ends it before. */
  readonly lentMs?: number | undefined;
}

/** The environment is laid over the allocation's; `PATH` only where it is not the one that the preamble found. */
export function orderOf(plan: AttemptPlan, room: Room, ground: Ground): RunOrder {
  const { PATH: path, ...others } = plan.environment;
  const given = ground.hasGpus
    ? { ...gpuEnvironment({ vendor: ground.vendor, ids: room.gpus }), SITEAGENT_GPU_IDS: room.gpus.join(",") }
    : {};
  const own = { ...others, ...(path === undefined || path === ground.path ? {} : { PATH: path }) };
  const environment = { ...(plan.starter ? starterVariables(plan.starter) : {}), ...own, ...given };
  const [program, ...words] = plan.argv;
  const argv = [program, ...namingNodes(plan, room.hosts), ...words] as const;
  const lentMs = plan.limitMs === undefined ? room.lentMs : undefined;
  const limitMs = lentMs === undefined ? plan.limitMs : Math.max(1, lentMs - plan.graceMs);
  return {
    token: plan.token,
    directory: plan.directory,
    plan: perlPlan({ ...plan, argv, limitMs, environment, cgroup: undefined, openFiles: undefined }),
    share: shareOf(plan.resources),
    gpus: room.gpus,
    needMs: lentMs ?? needMs(plan),
    graceMs: plan.graceMs,
    spread: plan.starter !== undefined,
  };
}

/** Which of the allocation's nodes are its own. */
function namingNodes({ starter, resources }: AttemptPlan, hosts: readonly string[]): readonly string[] {
  return starter === undefined ? [] : (nodeWords(starter, hosts, resources) ?? []);
}
