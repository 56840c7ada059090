import { formatDuration } from "../common/units.ts";
import type { Resources } from "./app.ts";

/** What a machine, a node or an allocation has, or what is left of it. undefined = not counted. */
export interface Capacity {
  readonly cores: number | undefined;
  readonly memoryBytes: number | undefined;
  readonly gpus: number | undefined;
}

/** What one attempt takes. */
export interface Share {
  readonly cores: number;
  readonly memoryBytes: number;
  readonly gpus: number;
}

const capacityKeys = ["cores", "memoryBytes", "gpus"] as const;
export const nothing: Share = { cores: 0, memoryBytes: 0, gpus: 0 };

/** Cores on each node: as said, else ranks × threads. */
export function coresPerNode(resources: Resources): number {
  return resources.cores ?? resources.ranks_per_node * resources.threads_per_rank;
}

/** Cores on all nodes together. */
export function totalCores(resources: Resources): number {
  return resources.nodes * coresPerNode(resources);
}

export function totalRanks(resources: Resources): number {
  return resources.nodes * resources.ranks_per_node;
}

export function totalGpus(resources: Resources): number {
  return resources.nodes * resources.gpus;
}

/** Memory on all nodes together, bytes; undefined when none is asked for. */
export function totalMemoryBytes(resources: Resources): number | undefined {
  return resources.memory === undefined ? undefined : resources.nodes * resources.memory;
}

/** Bytes for each rank, rounded down so that ranks × share never exceeds the node's memory. */
export function memoryPerRankBytes(resources: Resources): number | undefined {
  return resources.memory === undefined ? undefined : Math.floor(resources.memory / resources.ranks_per_node);
}

/** Bytes for each core, rounded up so that cores × share is never less than what was asked for (schedulers that count per core). */
export function memoryPerCoreBytes(resources: Resources): number | undefined {
  return resources.memory === undefined ? undefined : Math.ceil(resources.memory / coresPerNode(resources));
}

/** Whole seconds of the time limit, rounded up: no scheduler takes fractions, and none may cut the time that was promised. */
export function walltimeSeconds(resources: Resources): number | undefined {
  return resources.walltime === undefined ? undefined : Math.max(1, Math.ceil(resources.walltime / 1000));
}

/** What the attempt takes of each node. */
export function shareOf(resources: Resources): Share {
  return { cores: coresPerNode(resources), memoryBytes: resources.memory ?? 0, gpus: resources.gpus };
}

/** What the attempt takes of all nodes together. */
export function totalShareOf(resources: Resources): Share {
  const memoryBytes = totalMemoryBytes(resources) ?? 0;
  return { cores: totalCores(resources), memoryBytes, gpus: totalGpus(resources) };
}

export function addShares(a: Share, b: Share): Share {
  return { cores: a.cores + b.cores, memoryBytes: a.memoryBytes + b.memoryBytes, gpus: a.gpus + b.gpus };
}

/** What is left after `share` is taken; may be negative where too much was taken. */
export function subtractShare(capacity: Capacity, share: Share): Capacity {
  return {
    cores: capacity.cores === undefined ? undefined : capacity.cores - share.cores,
    memoryBytes: capacity.memoryBytes === undefined ? undefined : capacity.memoryBytes - share.memoryBytes,
    gpus: capacity.gpus === undefined ? undefined : capacity.gpus - share.gpus,
  };
}

/** What `capacity` is once `share` is given back. */
export function addShare(capacity: Capacity, share: Share): Capacity {
  return subtractShare(capacity, { cores: -share.cores, memoryBytes: -share.memoryBytes, gpus: -share.gpus });
}

/** True when `share` can be taken of `capacity` now. */
export function fits(share: Share, capacity: Capacity): boolean {
  return capacityKeys.every((key) => (capacity[key] ?? Infinity) >= share[key]);
}

export interface ResourceProblem {
  /** Member of `resources`, e.g. `cores`. */
  readonly key: "nodes" | "ranks_per_node" | "threads_per_rank" | "cores" | "gpus" | "memory" | "walltime";
  readonly message: string;
  readonly allowed: string;
}

/** What contradicts itself in a request, all of it. */
export function checkResources(resources: Resources): readonly ResourceProblem[] {
  const problems: ResourceProblem[] = [];
  const needed = resources.ranks_per_node * resources.threads_per_rank;
  if (resources.cores !== undefined && resources.cores < needed) {
    const sum = `${resources.ranks_per_node} ranks × ${resources.threads_per_rank} threads`;
    problems.push({
      key: "cores",
      message: `'${resources.cores}' cores are fewer than ${sum} need`,
      allowed: `at least ${needed}`,
    });
  }
  if (!Number.isSafeInteger(totalCores(resources))) {
    problems.push({
      key: "nodes",
      message: `'${resources.nodes}' nodes make more cores than can be counted`,
      allowed: "fewer",
    });
  }
  if (resources.memory !== undefined && resources.memory < 1024 * 1024) {
    const message = `'${resources.memory}' bytes of memory are less than any program needs`;
    problems.push({ key: "memory", message, allowed: "at least 1MiB; a number without a unit is bytes" });
  }
  if (resources.walltime !== undefined && resources.walltime < 1000) {
    problems.push({
      key: "walltime",
      message: `'${resources.walltime}' ms are too short for a time limit`,
      allowed: "at least 1s",
    });
  }
  return problems;
}

/** What one attempt can have at most; undefined = not limited. Queues limit what is used on all nodes together, machines what one node has. */
export interface AttemptLimits {
  readonly nodes?: number | undefined;
  readonly nodeCores?: number | undefined;
  readonly nodeMemoryBytes?: number | undefined;
  readonly nodeGpus?: number | undefined;
  readonly cores?: number | undefined;
  readonly memoryBytes?: number | undefined;
  readonly gpus?: number | undefined;
  /** For its time limit and its grace together. */
  readonly walltimeMs?: number | undefined;
}

/** What of a request can never be had within these limits, all of it. `who`: whose limits, for the message. */
export function checkLimits(
  resources: Resources,
  graceMs: number,
  limits: AttemptLimits,
  who: string,
): readonly ResourceProblem[] {
  const node = shareOf(resources);
  const all = totalShareOf(resources);
  const spread = resources.nodes > 1 ? ` on ${resources.nodes} nodes` : "";
  const amounts = [
    { key: "nodes", asked: resources.nodes, limit: limits.nodes, unit: "nodes" },
    { key: "cores", asked: node.cores, limit: limits.nodeCores, unit: "cores on a node" },
    { key: "cores", asked: all.cores, limit: limits.cores, unit: `cores${spread}` },
    { key: "memory", asked: node.memoryBytes, limit: limits.nodeMemoryBytes, unit: "bytes of memory on a node" },
    { key: "memory", asked: all.memoryBytes, limit: limits.memoryBytes, unit: `bytes of memory${spread}` },
    { key: "gpus", asked: node.gpus, limit: limits.nodeGpus, unit: "GPUs on a node" },
    { key: "gpus", asked: all.gpus, limit: limits.gpus, unit: `GPUs${spread}` },
  ] as const;
  const problems: ResourceProblem[] = amounts.flatMap(({ key, asked, limit, unit }) => {
    if (limit === undefined || asked <= limit) return [];
    return [{ key, message: `'${asked}' ${unit} are more than ${who} has`, allowed: `at most ${limit}` }];
  });
  const { walltime } = resources;
  if (walltime !== undefined && limits.walltimeMs !== undefined && walltime + graceMs > limits.walltimeMs) {
    const asked = `${formatDuration(walltime)} and the grace of ${formatDuration(graceMs)}`;
    const message = `${asked} are longer than ${who} has for an attempt`;
    problems.push({ key: "walltime", message, allowed: `at most ${formatDuration(limits.walltimeMs)} together` });
  }
  return problems;
}
