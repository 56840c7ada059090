import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { addShares, fits, nothing } from "../../../src/jobs/resources.ts";
import { elastic } from "../../../src/launchers/pilot/elastic.ts";
import { pack, type PackItem, type PackNode, patienceMs, suits } from "../../../src/launchers/pilot/pack.ts";
import { fuzz, fuzzing } from "../../helpers/fuzz.ts";

const gib = 1024 ** 3;

function item(key: string, extra: Partial<PackItem<string>> = {}): PackItem<string> {
  return { key, share: { cores: 1, memoryBytes: 0, gpus: 0 }, needMs: undefined, waitedMs: 0, ...extra };
}

function node(key: string, extra: Partial<PackNode<string>> = {}): PackNode<string> {
  return {
    key,
    capacity: { cores: 4, memoryBytes: 8 * gib },
    gpuIds: ["0", "1"],
    used: nothing,
    gpusInUse: new Set(),
    leftMs: 3_600_000,
    ahead: 0,
    ...extra,
  };
}

const places = (packed: ReturnType<typeof pack<string, string>>): readonly string[] =>
  packed.map((one) => `${one.item}@${one.nodes.join("+")}${one.gpus.map((id) => `:${id}`).join("")}`);

const shares = fc.record({
  cores: fc.integer({ min: 1, max: 12 }),
  memoryBytes: fc.integer({ min: 0, max: 10 }).map((count) => count * gib),
  gpus: fc.integer({ min: 0, max: 4 }),
});
const items = fc.array(
  fc.record({
    share: shares,
    nodes: fc.integer({ min: 1, max: 3 }),
    needMs: fc.option(fc.integer({ min: 1, max: 5_000 }), { nil: undefined }),
    waitedMs: fc.integer({ min: 0, max: 2 * patienceMs }),
  }),
  { maxLength: 60 },
);
const nodes = fc.array(
  fc.record({
    group: fc.integer({ min: 1, max: 2 }),
    cores: fc.integer({ min: 1, max: 16 }),
    memory: fc.option(fc.integer({ min: 1, max: 16 }), { nil: undefined }),
    gpus: fc.integer({ min: 0, max: 4 }),
    taken: fc.integer({ min: 0, max: 4 }),
    leftMs: fc.integer({ min: 0, max: 5_000 }),
  }),
  { maxLength: 6 },
);

describe("packing", () => {
  it(
    "never gives a node more cores, memory or GPUs than it has, no GPU twice, and nothing that cannot end in time",
    fuzzing,
    () => {
      fc.assert(
        fc.property(items, nodes, (wanted, there) => {
          const all = wanted.map((one, index) => ({ ...one, key: index }));
          const open = there.map(({ cores, memory, gpus, taken, leftMs, group }, index) => {
            const gpuIds = Array.from({ length: gpus }, (_, id) => String(id));
            return {
              key: index,
              capacity: { cores, memoryBytes: memory === undefined ? undefined : memory * gib },
              gpuIds,
              used: { cores: Math.min(taken, cores), memoryBytes: 0, gpus: Math.min(taken, gpus) },
              gpusInUse: new Set(gpuIds.slice(0, taken)),
              leftMs,
              ahead: 0,
              group,
            };
          });
          const packed = pack(all, open);
          expect(new Set(packed.map((one) => one.item)).size).toBe(packed.length);
          for (const one of packed) {
            expect(new Set(one.nodes).size).toBe(all[one.item]?.nodes);
            expect(new Set(one.nodes.map((key) => open[key]?.group)).size).toBe(1);
          }
          for (const each of open) {
            let used = each.used;
            const gpus = new Set(each.gpusInUse);
            for (const one of packed.filter((other) => other.nodes.includes(each.key))) {
              const { share, needMs } = all[one.item] ?? item("");
              used = addShares(used, share);
              expect(one.gpus).toHaveLength(share.gpus);
              for (const id of one.gpus) {
                expect(each.gpuIds).toContain(id);
                expect(gpus.has(id)).toBe(false);
                gpus.add(id);
              }
              expect(needMs ?? 0).toBeLessThanOrEqual(each.leftMs);
            }
            expect(fits(used, { ...each.capacity, gpus: each.gpuIds.length })).toBe(true);
          }
        }),
        fuzz(500),
      );
    },
  );

  it("leaves nothing waiting that fits into an empty node", fuzzing, () => {
    fc.assert(
      fc.property(shares, (share) => {
        const there = node("a", { capacity: { cores: 16, memoryBytes: undefined }, gpuIds: ["0", "1", "2", "3"] });
        expect(pack([item("x", { share })], [there])).toHaveLength(suits(share, there) ? 1 : 0);
      }),
      fuzz(100),
    );
  });

  it("takes the fullest node, keeps attempts that tell their time where little is left, and others where much is", () => {
    const [little, much] = [node("little", { leftMs: 60_000 }), node("much")];
    expect(places(pack([item("x", { needMs: 50_000 }), item("y")], [much, little]))).toEqual(["x@little", "y@much"]);
    const full = node("full", { used: { cores: 3, memoryBytes: 0, gpus: 0 } });
    expect(places(pack([item("x")], [node("empty"), full]))).toEqual(["x@full"]);
  });

  it("lets small ones pass a large one, until that has waited long enough", () => {
    const there = [node("a", { used: { cores: 2, memoryBytes: 0, gpus: 0 } })];
    const large = { share: { cores: 4, memoryBytes: 0, gpus: 0 } };
    expect(places(pack([item("large", large), item("small")], there))).toEqual(["small@a"]);
    expect(pack([item("large", { ...large, waitedMs: patienceMs }), item("small")], there)).toEqual([]);
  });

  it("gives a node that ends many a few beyond what fits, but none with GPUs and none that never fits", () => {
    const there = [node("a", { used: { cores: 4, memoryBytes: 0, gpus: 0 }, ahead: 2 })];
    const gpu = item("gpu", { share: { cores: 1, memoryBytes: 0, gpus: 1 } });
    const huge = item("huge", { share: { cores: 5, memoryBytes: 0, gpus: 0 } });
    expect(places(pack([gpu, huge, item("x"), item("y"), item("z")], there))).toEqual(["x@a", "y@a"]);
  });

  it("places one of several nodes on nodes of one allocation beside others, all at once or not at all", () => {
    const of = (group: string, key: string, used: number): PackNode<string> =>
      node(key, { group, used: { cores: used, memoryBytes: 0, gpus: 0 } });
    const wide = item("wide", { nodes: 2, share: { cores: 2, memoryBytes: 0, gpus: 0 } });
    const there = [of("x", "x1", 1), of("x", "x2", 3), of("y", "y1", 1), of("y", "y2", 2), of("y", "y3", 0)];
    expect(places(pack([wide, item("small")], there))).toEqual(["wide@y2+y1", "small@x2"]);
    expect(places(pack([wide], there.slice(0, 3)))).toEqual([]);
    expect(places(pack([{ ...wide, avoid: new Set(["y1"]) }], there))).toEqual(["wide@y2+y3"]);
  });

  it("tells all nodes of one the same GPUs, and never queues it behind others", () => {
    const gpus = { share: { cores: 1, memoryBytes: 0, gpus: 1 }, nodes: 2 };
    const there = [node("a", { gpusInUse: new Set(["0"]) }), node("b"), node("c", { ahead: 5 })];
    expect(places(pack([item("wide", gpus)], there))).toEqual(["wide@b+c:0"]);
    const full = { used: { cores: 4, memoryBytes: 0, gpus: 0 }, ahead: 5 };
    expect(pack([item("wide", { nodes: 2 })], [node("a", full), node("b", full)])).toEqual([]);
  });

  it("keeps as many nodes free as one needs that has waited long enough, and no more", () => {
    const half = { used: { cores: 2, memoryBytes: 0, gpus: 0 } };
    const there = [node("a", half), node("b", half), node("c", half)];
    const wide = { nodes: 2, share: { cores: 4, memoryBytes: 0, gpus: 0 } };
    const small = [1, 2, 3, 4, 5, 6].map((number) => item(String(number)));
    expect(pack([item("wide", wide), ...small], there)).toHaveLength(6);
    expect(pack([item("wide", { ...wide, waitedMs: patienceMs }), ...small], there)).toHaveLength(2);
  });

  it("goes round a node that gave it back", () => {
    expect(places(pack([item("x", { avoid: new Set(["a"]) })], [node("a"), node("b")]))).toEqual(["x@b"]);
  });
});

describe("the number of allocations", () => {
  const shape = { nodes: 2, usableMs: 3_600_000, node: { capacity: { cores: 4, memoryBytes: undefined }, gpuIds: [] } };
  const rule = { min: 0, max: 3, backlog: 1, waitMs: 0 };
  const waiting = (count: number, waitedMs = 0): readonly PackItem<string>[] =>
    Array.from({ length: count }, (_, index) => item(String(index), { waitedMs }));

  it.each([
    [0, 0],
    [1, 1],
    [8, 1],
    [9, 2],
    [1_000, 3],
  ])("for %i waiting attempts of one core is %i", (count, submit) => {
    expect(elastic({ waiting: waiting(count), shape, alive: 0, coming: 0 }, rule).submit).toBe(submit);
  });

  it("counts those that were asked for, and never goes beyond the most", () => {
    expect(elastic({ waiting: waiting(9), shape, alive: 1, coming: 1 }, rule)).toEqual({ submit: 1, surplus: 0 });
    expect(elastic({ waiting: waiting(9), shape, alive: 3, coming: 2 }, rule)).toEqual({ submit: 0, surplus: 0 });
    expect(elastic({ waiting: waiting(1_000), shape, alive: 3, coming: 0 }, rule)).toEqual({ submit: 0, surplus: 0 });
  });

  it("says how many of those that were asked for nobody needs", () => {
    expect(elastic({ waiting: [], shape, alive: 3, coming: 2 }, rule)).toEqual({ submit: 0, surplus: 2 });
    expect(elastic({ waiting: waiting(3), shape, alive: 3, coming: 2 }, rule).surplus).toBe(1);
  });

  it("keeps the fewest, and waits for its backlog", () => {
    expect(elastic({ waiting: [], shape, alive: 0, coming: 0 }, { ...rule, min: 2 })).toEqual({
      submit: 2,
      surplus: 0,
    });
    expect(elastic({ waiting: [], shape, alive: 2, coming: 2 }, { ...rule, min: 2 }).surplus).toBe(0);
    const slow = { ...rule, backlog: 4, waitMs: 1_000 };
    expect(elastic({ waiting: waiting(3, 5_000), shape, alive: 0, coming: 0 }, slow).submit).toBe(0);
    expect(elastic({ waiting: waiting(4, 500), shape, alive: 0, coming: 0 }, slow).submit).toBe(0);
    expect(elastic({ waiting: waiting(4, 1_000), shape, alive: 0, coming: 0 }, slow).submit).toBe(1);
  });

  it("counts the nodes that one needs at once", () => {
    const wide = [1, 2, 3].map((key) => item(String(key), { nodes: 2, share: { cores: 3, memoryBytes: 0, gpus: 0 } }));
    expect(elastic({ waiting: wide, shape, alive: 0, coming: 0 }, rule).submit).toBe(3);
    const beside = [...wide.slice(0, 1), item("a"), item("b")];
    expect(elastic({ waiting: beside, shape, alive: 0, coming: 0 }, rule).submit).toBe(1);
  });

  it("asks for none for what fits into none", () => {
    const huge = [item("huge", { share: { cores: 5, memoryBytes: 0, gpus: 0 } })];
    expect(elastic({ waiting: huge, shape, alive: 0, coming: 0 }, rule).submit).toBe(0);
  });

  it("stays within its bounds whatever waits", fuzzing, () => {
    fc.assert(
      fc.property(items, fc.nat(5), fc.nat(5), fc.nat(5), fc.nat(3), (wanted, alive, coming, max, min) => {
        const state = {
          waiting: wanted.map((one, key) => ({ ...one, key })),
          shape,
          alive,
          coming: Math.min(coming, alive),
        };
        const { submit, surplus } = elastic(state, { ...rule, max, min });
        expect(submit).toBeGreaterThanOrEqual(0);
        expect(submit === 0 || alive + submit <= max).toBe(true);
        expect(surplus).toBeLessThanOrEqual(state.coming);
        expect(submit === 0 || surplus === 0).toBe(true);
      }),
      fuzz(200),
    );
  });
});
