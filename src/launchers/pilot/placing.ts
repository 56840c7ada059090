/** Which attempts a pilot takes at all, and which of those that wait go where now. */
import type { Share } from "../../jobs/resources.ts";
import { nodeWords } from "../mpi.ts";
import { limitProblems, planProblems } from "../refusal.ts";
import type { AttemptPlan } from "../types.ts";
import type { Allocation } from "./allocations.ts";
import type { Entry } from "./attempts.ts";
import { orderOf } from "./handover.ts";
import type { PilotNode } from "./node.ts";
import type { PilotLauncherOptions } from "./options.ts";
import type { HoldOrder, RunOrder } from "./orders.ts";
import { pack, type Packed, type PackItem, type PackNode } from "./pack.ts";

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
  const { nodes, node } = options;
  const { cores: nodeCores, memoryBytes: nodeMemoryBytes, gpuIds } = node;
  const limits = { nodes, nodeCores, nodeMemoryBytes, nodeGpus: gpuIds.length, walltimeMs: usableMs(options) };
  const problems = [...planProblems(plan), ...limitProblems(plan, limits, "an allocation")];
  if (plan.runtime === "pty") problems.push("runtime 'pty' cannot run in an allocation");
  const canBeTold = plan.starter !== undefined && nodeWords(plan.starter, [], plan.resources) !== undefined;
  if (plan.resources.nodes > 1 && !canBeTold)
    problems.push("on several nodes of an allocation it needs an MPI starter that can be told which");
  return problems;
}

/** Orders for one node. Room on further nodes is held before the first of them is told to start. */
export interface NodeOrders {
  readonly runs: RunOrder[];
  readonly holds: HoldOrder[];
}

/** Gives those that wait to nodes, as far as there is room; what is to be sent to each node. */
export function placeAll(
  waiting: readonly PackItem<Entry>[],
  alive: readonly Allocation[],
  options: PilotLauncherOptions,
  now: number,
): ReadonlyMap<PilotNode, NodeOrders> {
  const open = alive.flatMap((one) =>
    [...one.nodes.values()]
      .filter((node) => isOpenNow(node, options, now))
      .map((node) => packNode(one, node, options, now)),
  );
  const usable = open.filter(({ leftMs }) => leftMs > 0);
  const orders = new Map<PilotNode, NodeOrders>();
  const ordersOf = (node: PilotNode): NodeOrders => {
    const known = orders.get(node) ?? { runs: [], holds: [] };
    orders.set(node, known);
    return known;
  };
  for (const packed of pack(waiting, usable)) {
    const [first, ...others] = packed.nodes;
    const run = hand(packed, options, now);
    if (!run) continue;
    ordersOf(first.node).runs.push(run);
    for (const { node } of others) ordersOf(node).holds.push(run);
  }
  return orders;
}

interface Ground {
  readonly one: Allocation;
  readonly node: PilotNode;
}

function packNode(one: Allocation, node: PilotNode, options: PilotLauncherOptions, now: number): PackNode<Ground> {
  const { node: shape, marginMs } = options;
  return {
    key: { one, node },
    identity: node,
    group: one,
    capacity: { cores: shape.cores, memoryBytes: shape.memoryBytes },
    gpuIds: shape.gpuIds,
    used: node.used,
    gpusInUse: node.gpusInUse,
    leftMs: node.leftMs(now) - marginMs,
    ahead: node.ahead(now, shape.cores),
  };
}

/** Notes where it goes. Who has no walltime gets one where a whole allocation is still to come: what does not end in that ends in none. */
function hand(
  { item: entry, nodes, gpus }: Packed<Entry, Ground>,
  options: PilotLauncherOptions,
  now: number,
): RunOrder | undefined {
  const [first, ...others] = nodes;
  if (!entry.plan) return undefined;
  const { path, marginMs, node: shape } = options;
  const wholeMs = usableMs(options);
  const hasWhole = nodes.every(({ node }) => node.leftMs(now) - marginMs >= wholeMs);
  entry.lent = entry.plan.limitMs === undefined && hasWhole;
  const hosts = [first.node.host, ...others.map(({ node }) => node.host)] as const;
  const order = orderOf(
    entry.plan,
    { hosts, gpus, lentMs: entry.lent ? wholeMs : undefined },
    { path, vendor: shape.gpuVendor, hasGpus: shape.gpuIds.length > 0 },
  );
  entry.place = first;
  const given: { readonly share: Share; readonly gpus: readonly string[] } = order;
  first.node.placed.set(entry.token, { ...given, held: false });
  for (const { node } of others) node.placed.set(entry.token, { ...given, held: true });
  return order;
}
