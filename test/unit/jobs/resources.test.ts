import fc from "fast-check";
import { expect, it } from "vitest";
import { type Resources, resourcesSchema } from "../../../src/jobs/app.ts";
import * as resources from "../../../src/jobs/resources.ts";

const request = (input: object): Resources => resourcesSchema.parse(input);

it("counts cores, ranks, GPUs and memory", () => {
  const asked = request({
    nodes: 3,
    ranks_per_node: 4,
    threads_per_rank: 2,
    gpus: 2,
    memory: "10GiB",
    walltime: "1500ms",
  });
  expect(resources.coresPerNode(asked)).toBe(8);
  expect(resources.totalCores(asked)).toBe(24);
  expect(resources.totalRanks(asked)).toBe(12);
  expect(resources.totalGpus(asked)).toBe(6);
  expect(resources.totalMemoryBytes(asked)).toBe(30 * 1024 ** 3);
  expect(resources.memoryPerRankBytes(asked)).toBe(2.5 * 1024 ** 3);
  expect(resources.walltimeSeconds(asked)).toBe(2);
  expect(resources.coresPerNode(request({ cores: 16, ranks_per_node: 4 }))).toBe(16);
});

it("promises no memory and no time that nobody asked for", () => {
  const asked = request({});
  const told = [
    resources.totalMemoryBytes(asked),
    resources.memoryPerRankBytes(asked),
    resources.memoryPerCoreBytes(asked),
    resources.walltimeSeconds(asked),
  ];
  expect(told).toEqual([undefined, undefined, undefined, undefined]);
  expect(resources.shareOf(asked)).toEqual({ cores: 1, memoryBytes: 0, gpus: 0 });
});

it("names all contradictions at once", () => {
  const asked = request({ cores: 3, ranks_per_node: 2, threads_per_rank: 2, memory: 4000, walltime: "10ms" });
  expect(resources.checkResources(asked).map(({ key, message }) => `${key}: ${message}`)).toEqual([
    "cores: '3' cores are fewer than 2 ranks × 2 threads need",
    "memory: '4000' bytes of memory are less than any program needs",
    "walltime: '10' ms are too short for a time limit",
  ]);
  expect(resources.checkResources(request({}))).toEqual([]);
  const countless = { ...request({ cores: 1000 }), nodes: Number.MAX_SAFE_INTEGER };
  expect(resources.checkResources(countless).map(({ key }) => key)).toEqual(["nodes"]);
});

it("names everything that a target can never give", () => {
  const target = { name: "local", maxNodes: 1, cores: 4, memoryBytes: 2 ** 30, gpus: 0 };
  const asked = request({ nodes: 2, cores: 8, memory: "2GiB", gpus: 1 });
  expect(resources.checkFits(asked, target).map(({ key }) => key)).toEqual(["nodes", "cores", "memory", "gpus"]);
  const uncounted = { name: "x", maxNodes: 2, cores: undefined, memoryBytes: undefined, gpus: undefined };
  expect(resources.checkFits(asked, uncounted)).toEqual([]);
});

const amount = fc.nat({ max: 1_000_000 });
const share = fc.record({ cores: amount, memoryBytes: amount, gpus: amount });
const counted = fc.option(amount, { nil: undefined });
const capacity = fc.record({ cores: counted, memoryBytes: counted, gpus: counted });

it("gives back what it took, and never overbooks what it said would fit", () => {
  fc.assert(
    fc.property(capacity, fc.array(share), (room, shares) => {
      let left = room;
      let taken = resources.nothing;
      for (const one of shares) {
        if (!resources.fits(one, left)) continue;
        left = resources.subtractShare(left, one);
        taken = resources.addShares(taken, one);
      }
      for (const key of ["cores", "memoryBytes", "gpus"] as const) expect(left[key] ?? 0).toBeGreaterThanOrEqual(0);
      expect(resources.addShare(left, taken)).toEqual(room);
      expect(resources.fits(taken, room)).toBe(true);
    }),
  );
});

it("never shares out more memory per rank than the node has, nor less per core than was asked for", () => {
  const some = fc.integer({ min: 1, max: 1000 });
  fc.assert(
    fc.property(some, some, fc.integer({ min: 2 ** 20, max: 2 ** 45 }), (ranks, threads, memory) => {
      const asked = request({ ranks_per_node: ranks, threads_per_rank: threads, memory });
      expect((resources.memoryPerRankBytes(asked) ?? 0) * ranks).toBeLessThanOrEqual(memory);
      expect((resources.memoryPerCoreBytes(asked) ?? 0) * ranks * threads).toBeGreaterThanOrEqual(memory);
    }),
  );
});
