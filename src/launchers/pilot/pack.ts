/** Which waiting attempt goes to which node: pure. A node is never given more than it has, but for a few that it starts when others end. */
import { addShares, type Capacity, fits, type Share, subtractShare } from "../../jobs/resources.ts";
import { takeGpus } from "../../jobs/gpus.ts";

export interface PackItem<Key> {
  readonly key: Key;
  /** Of one node. */
  readonly share: Share;
  /** How long it may take; undefined = nobody knows. */
  readonly needMs: number | undefined;
  readonly waitedMs: number;
  /** Keys of nodes that gave it back. */
  readonly avoid?: ReadonlySet<unknown>;
}

export interface PackNode<Key> {
  readonly key: Key;
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
  readonly node: Node;
  readonly gpus: readonly string[];
}

/** Who waited so long is not passed any more: the node that suits it best is kept free until it fits. */
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
      (room) => (item.needMs === undefined || item.needMs <= room.leftMs) && item.avoid?.has(room.key) !== true,
    );
    const room = best(
      inTime.filter((each) => fitsInto(item.share, each)),
      item,
    );
    if (room) {
      const gpus = takeGpus(room.gpuIds, item.share.gpus, room.gpusInUse) ?? [];
      for (const id of gpus) room.gpusInUse.add(id);
      room.used = addShares(room.used, item.share);
      packed.push({ item: item.key, node: room.key, gpus });
      continue;
    }
    const suited = inTime.filter((each) => suits(item.share, each));
    const next = suited.toSorted((a, b) => b.ahead - a.ahead)[0];
    if (next && next.ahead > 0 && item.share.gpus === 0) {
      next.ahead--;
      next.used = addShares(next.used, item.share);
      packed.push({ item: item.key, node: next.key, gpus: [] });
    } else if (item.waitedMs >= patienceMs) {
      const kept = best(suited, item);
      rooms = rooms.filter((each) => each !== kept);
    }
  }
  return packed;
}

const smallest: Share = { cores: 1, memoryBytes: 0, gpus: 0 };

function free(node: PackNode<unknown>): Capacity {
  const { cores, memoryBytes } = node.capacity;
  return subtractShare({ cores, memoryBytes, gpus: undefined }, node.used);
}

function fitsInto(share: Share, node: PackNode<unknown>): boolean {
  return fits(share, free(node)) && takeGpus(node.gpuIds, share.gpus, node.gpusInUse) !== undefined;
}

/** Could it ever run there? */
export function suits(share: Share, node: Pick<PackNode<unknown>, "capacity" | "gpuIds">): boolean {
  return fits(share, { ...node.capacity, gpus: node.gpuIds.length });
}

/** A limit that is known goes where the least time is left that is enough; else where the most is. Of equals the fullest. */
function best<Node>(rooms: readonly Room<Node>[], item: PackItem<unknown>): Room<Node> | undefined {
  const sign = item.needMs === undefined ? -1 : 1;
  return rooms.reduce<Room<Node> | undefined>((found, room) => {
    if (!found) return room;
    const order = sign * (room.leftMs - found.leftMs) || (free(room).cores ?? 0) - (free(found).cores ?? 0);
    return order < 0 ? room : found;
  }, undefined);
}
