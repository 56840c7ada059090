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

it("names everything that a target can never give, in one go", () => {
  const asked = request({ nodes: 2, cores: 8, memory: "2GiB", gpus: 1, walltime: "1h" });
  const small = { nodeCores: 4, nodeMemoryBytes: 2 ** 30, nodeGpus: 0, walltimeMs: 3_600_000 };
  const limits = { ...small, nodes: 1, cores: 15, memoryBytes: 2 ** 32 - 1, gpus: 1 };
  const problems = resources.checkLimits(asked, 30_000, limits, "target 'cpu'");
  expect(problems.map(({ key, message, allowed }) => `${key}: ${message}; ${allowed}`)).toEqual([
    "nodes: '2' nodes are more than target 'cpu' has; at most 1",
    "cores: '8' cores on a node are more than target 'cpu' has; at most 4",
    "cores: '16' cores on 2 nodes are more than target 'cpu' has; at most 15",
    "memory: '2147483648' bytes of memory on a node are more than target 'cpu' has; at most 1073741824",
    "memory: '4294967296' bytes of memory on 2 nodes are more than target 'cpu' has; at most 4294967295",
    "gpus: '1' GPUs on a node are more than target 'cpu' has; at most 0",
    "gpus: '2' GPUs on 2 nodes are more than target 'cpu' has; at most 1",
    "walltime: 1h and the grace of 30s are longer than target 'cpu' has for an attempt; at most 1h together",
  ]);
  expect(resources.checkLimits(asked, 30_000, {}, "x")).toEqual([]);
  const exact = { nodes: 2, nodeCores: 8, nodeMemoryBytes: 2 ** 31, nodeGpus: 1, cores: 16, memoryBytes: 2 ** 32 };
  expect(resources.checkLimits(asked, 0, { ...exact, gpus: 2, walltimeMs: 3_600_000 }, "x")).toEqual([]);
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
