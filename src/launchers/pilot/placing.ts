/** Which attempts a pilot takes at all, and which of those that wait go where now. */
import { limitProblems, planProblems } from "../refusal.ts";
import type { AttemptPlan } from "../types.ts";
import type { Allocation } from "./allocations.ts";
import { type Entry, orderOf } from "./attempts.ts";
import type { PilotNode } from "./node.ts";
import type { PilotLauncherOptions } from "./options.ts";
import type { RunOrder } from "./orders.ts";
import { pack, type PackItem } from "./pack.ts";

/** Signs of life that a node may miss before it is given no more work. */
const silentBeats = 6;

/** It takes orders, and tells of what happens to them. */
export function isOpenNow(node: PilotNode, options: PilotLauncherOptions, now: number): boolean {
  return node.isOpen(now, silentBeats * options.beatMs);
}

/** What an allocation has for attempts of its walltime. */
export function usableMs({ walltimeMs, marginMs, startMs }: PilotLauncherOptions): number {
  return walltimeMs - marginMs - startMs;
}

/** Why an attempt can never run in an allocation; all of it. */
export function problemsOf(plan: AttemptPlan, options: PilotLauncherOptions): readonly string[] {
  const { cores: nodeCores, memoryBytes: nodeMemoryBytes, gpuIds } = options.node;
  const limits = { nodes: 1, nodeCores, nodeMemoryBytes, nodeGpus: gpuIds.length, walltimeMs: usableMs(options) };
  const problems = [...planProblems(plan), ...limitProblems(plan, limits, "an allocation")];
  if (plan.runtime === "pty") problems.push("runtime 'pty' cannot run in an allocation");
  return problems;
}

/** Gives those that wait to nodes, as far as there is room; what is to be sent to each node. */
export function placeAll(
  waiting: readonly PackItem<Entry>[],
  alive: readonly Allocation[],
  options: PilotLauncherOptions,
  now: number,
): ReadonlyMap<PilotNode, readonly RunOrder[]> {
  const { node: shape, marginMs, path } = options;
  const places = new Map(alive.flatMap((one) => [...one.nodes.values()].map((node) => [node, one])));
  const open = [...places.keys()]
    .filter((node) => isOpenNow(node, options, now))
    .map((node) => ({
      key: node,
      capacity: { cores: shape.cores, memoryBytes: shape.memoryBytes },
      gpuIds: shape.gpuIds,
      used: node.used,
      gpusInUse: node.gpusInUse,
      leftMs: node.leftMs(now) - marginMs,
      ahead: node.ahead(now, shape.cores),
    }));
  const usable = open.filter(({ leftMs }) => leftMs > 0);
  const site = { path, vendor: shape.gpuVendor, hasGpus: shape.gpuIds.length > 0 };
  const orders = new Map<PilotNode, RunOrder[]>();
  for (const { item: entry, node, gpus } of pack(waiting, usable)) {
    const one = places.get(node);
    if (!entry.plan || !one) continue;
    const order = orderOf(entry.plan, gpus, site);
    entry.place = { one, node };
    node.placed.set(entry.token, order);
    const runs = orders.get(node) ?? [];
    runs.push(order);
    orders.set(node, runs);
  }
  return orders;
}
