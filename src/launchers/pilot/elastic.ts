/** How many allocations there are to be: pure. */
import { nothing } from "../../jobs/resources.ts";
import { pack, type PackItem, type PackNode } from "./pack.ts";

export interface ElasticRule {
  /** So many are kept, whether there is work or not. */
  readonly min: number;
  readonly max: number;
  /** A further one is asked for when at least so many attempts wait that those which are there or asked for have no room for, … */
  readonly backlog: number;
  /** … and the first of them has waited so long; milliseconds. */
  readonly waitMs: number;
}

export interface AllocationShape {
  readonly nodes: number;
  /** Of the allocation, milliseconds, without the time in which it ends what runs. */
  readonly usableMs: number;
  readonly node: Pick<PackNode<unknown>, "capacity" | "gpuIds">;
}

export interface ElasticState {
  /** What waits, with its wait, after everything that fits was placed. */
  readonly waiting: readonly PackItem<unknown>[];
  readonly shape: AllocationShape;
  /** Allocations that are not over. */
  readonly alive: number;
  /** Of them those that nothing was placed on yet because they have not begun. */
  readonly coming: number;
}

export interface ElasticDecision {
  readonly submit: number;
  /** So many of those that have not begun are not needed any more. */
  readonly surplus: number;
}

/** What waits beyond this does not change the decision: it is more than enough for any number of allocations that is asked for at once. */
const mostLookedAt = 5_000;

export function elastic(state: ElasticState, rule: ElasticRule): ElasticDecision {
  const { alive, coming } = state;
  let left = state.waiting.slice(0, mostLookedAt);
  let needed = 0;
  const room = Math.max(0, rule.max - alive);
  while (needed < coming + room && left.length > 0) {
    const first = left[0]?.waitedMs ?? 0;
    if (needed >= coming && (left.length < rule.backlog || first < rule.waitMs)) break;
    const nodes = Array.from({ length: state.shape.nodes }, (_, key): PackNode<number> => empty(key, state.shape));
    const held = new Set(
      pack(
        left.map((item) => ({ ...item, key: item })),
        nodes,
      ).map(({ item }) => item),
    );
    if (held.size === 0) break; // it fits into no allocation of this shape
    left = left.filter((item) => !held.has(item));
    needed++;
  }
  const wanted = Math.max(alive - coming + needed, Math.min(rule.min, rule.max));
  return {
    submit: Math.max(0, Math.min(wanted, rule.max) - alive),
    surplus: Math.max(0, Math.min(coming, alive - wanted)),
  };
}

function empty(key: number, shape: AllocationShape): PackNode<number> {
  const { capacity, gpuIds } = shape.node;
  return { key, capacity, gpuIds, used: nothing, gpusInUse: new Set(), leftMs: shape.usableMs, ahead: 0 };
}
