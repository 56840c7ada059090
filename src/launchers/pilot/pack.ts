/** Which waiting attempt goes to which node, or nodes: pure. A node is never given more than it has, but for a few that it starts when others end. */
import { addShares, type Capacity, fits, type Share, subtractShare } from "../../jobs/resources.ts";
import { takeGpus } from "../../jobs/gpus.ts";

export interface PackItem<Key> {
  readonly key: Key;
  /** Of each node. */
  readonly share: Share;
  /** So many nodes of one group at the same time; default 1. */
  readonly nodes?: number;
  /** How long it may take; undefined = nobody knows. */
  readonly needMs: number | undefined;
  readonly waitedMs: number;
  /** Identities of nodes that gave it back. */
  readonly avoid?: ReadonlySet<unknown>;
}

export interface PackNode<Key> {
  readonly key: Key;
  /** What `avoid` knows it by; default: the key. */
  readonly identity?: unknown;
  /** Nodes of one group can work together. */
  readonly group?: unknown;
  /** What the node has when nothing runs. */
  readonly capacity: Pick<Capacity, "cores" | "memoryBytes">;
  readonly gpuIds: readonly string[];
  /** What is taken by attempts that were handed to it and are not over. */
  readonly used: Share;
  readonly gpusInUse: ReadonlySet<string>;
  /** Until it ends what still runs. */
  readonly leftMs: number;
  /** How many attempts it may be given beyond what fits now: it starts them one after the other. */
  readonly ahead: number;
}

export interface Packed<Item, Node> {
  readonly item: Item;
  /** As many as it asked for; the first starts it. */
  readonly nodes: readonly [Node, ...Node[]];
  /** The same ids on each of them. */
  readonly gpus: readonly string[];
}

/** Who waited so long is not passed any more: the nodes that suit it best are kept free until it fits. */
export const patienceMs = 60_000;

interface Room<Key> extends PackNode<Key> {
  used: Share;
  gpusInUse: Set<string>;
  ahead: number;
}

/** In the order in which they came; what does not fit is passed by what does, until it has waited too long. */
export function pack<Item, Node>(
  items: readonly PackItem<Item>[],
  nodes: readonly PackNode<Node>[],
): readonly Packed<Item, Node>[] {
  let rooms: Room<Node>[] = nodes.map((node) => ({ ...node, gpusInUse: new Set(node.gpusInUse) }));
  const packed: Packed<Item, Node>[] = [];
  for (const item of items) {
    rooms = rooms.filter((room) => room.ahead > 0 || fits(smallest, free(room)));
    if (rooms.length === 0) break;
    const inTime = rooms.filter(
      (room) =>
        (item.needMs === undefined || item.needMs <= room.leftMs) &&
        item.avoid?.has(room.identity ?? room.key) !== true,
    );
    const found = choose(item, inTime, (room) => fitsInto(item, room));
    if (found) {
      packed.push(take(item, found));
      continue;
    }
    const queue = mayQueue(item) ? inTime.filter((room) => suits(item.share, room)) : [];
    const next = queue.toSorted((a, b) => b.ahead - a.ahead)[0];
    if (next && next.ahead > 0) {
      next.ahead--;
      next.used = addShares(next.used, item.share);
      packed.push({ item: item.key, nodes: [next.key], gpus: [] });
    } else if (item.waitedMs >= patienceMs) {
      const kept: readonly Room<Node>[] = choose(item, inTime, (room) => suits(item.share, room)) ?? [];
      rooms = rooms.filter((room) => !kept.includes(room));
    }
  }
  return packed;
}

const smallest: Share = { cores: 1, memoryBytes: 0, gpus: 0 };

/** GPUs are given out here, and several nodes must be free at the same time. */
function mayQueue({ share, nodes = 1 }: PackItem<unknown>): boolean {
  return share.gpus === 0 && nodes === 1;
}

function take<Item, Node>(item: PackItem<Item>, rooms: readonly [Room<Node>, ...Room<Node>[]]): Packed<Item, Node> {
  const [first, ...others] = rooms;
  const gpus = takeGpus(first.gpuIds, item.share.gpus, first.gpusInUse) ?? [];
  for (const room of rooms) {
    for (const id of gpus) room.gpusInUse.add(id);
    room.used = addShares(room.used, item.share);
  }
  return { item: item.key, nodes: [first.key, ...others.map(({ key }) => key)], gpus };
}

function free(node: PackNode<unknown>): Capacity {
  const { cores, memoryBytes } = node.capacity;
  return subtractShare({ cores, memoryBytes, gpus: undefined }, node.used);
}

/** Ranks on several nodes are told the same ids: there its GPUs must all be free. */
function fitsInto({ share, nodes = 1 }: PackItem<unknown>, node: PackNode<unknown>): boolean {
  if (nodes > 1 && share.gpus > 0 && node.gpusInUse.size > 0) return false;
  return fits(share, free(node)) && takeGpus(node.gpuIds, share.gpus, node.gpusInUse) !== undefined;
}

/** Could it ever run there? */
export function suits(share: Share, node: Pick<PackNode<unknown>, "capacity" | "gpuIds">): boolean {
  return fits(share, { ...node.capacity, gpus: node.gpuIds.length });
}

/** The best nodes of one group, of those that will do; undefined when there are not enough. */
function choose<Node>(
  item: PackItem<unknown>,
  rooms: readonly Room<Node>[],
  willDo: (room: Room<Node>) => boolean,
): readonly [Room<Node>, ...Room<Node>[]] | undefined {
  const { nodes = 1 } = item;
  const good = rooms.filter(willDo);
  if (nodes === 1) {
    const room = best(good, item);
    return room && [room];
  }
  const ranked = [...Map.groupBy(good, ({ group }) => group).values()].flatMap((group) => {
    const chosen = group.toSorted((a, b) => order(a, b, item)).slice(0, nodes);
    const [first] = chosen;
    return first && chosen.length === nodes ? [{ first, chosen }] : [];
  });
  const top = best(
    ranked.map(({ first }) => first),
    item,
  );
  const [first, ...others] = ranked.find((each) => each.first === top)?.chosen ?? [];
  return first && [first, ...others];
}

/** A limit that is known goes where the least time is left that is enough; else where the most is. Of equals the fullest. */
function order(a: PackNode<unknown>, b: PackNode<unknown>, item: PackItem<unknown>): number {
  const sign = item.needMs === undefined ? -1 : 1;
  return sign * (a.leftMs - b.leftMs) || (free(a).cores ?? 0) - (free(b).cores ?? 0);
}

function best<Node>(rooms: readonly Room<Node>[], item: PackItem<unknown>): Room<Node> | undefined {
  return rooms.reduce<Room<Node> | undefined>(
    (found, room) => (found && order(room, found, item) >= 0 ? found : room),
    undefined,
  );
}
