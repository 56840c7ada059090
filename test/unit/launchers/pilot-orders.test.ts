import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { newToken } from "../../../src/common/token.ts";
import type { MpiStarter } from "../../../src/jobs/mpi.ts";
import { orderOf } from "../../../src/launchers/pilot/handover.ts";
import { parseEvent, readOrders, writeOrders } from "../../../src/launchers/pilot/orders.ts";
import { allocationBody } from "../../../src/launchers/pilot/script.ts";
import type { AttemptPlan } from "../../../src/launchers/types.ts";
import { fuzz, fuzzing } from "../../helpers/fuzz.ts";

const token = newToken();
const rc = {
  kind: "exit",
  value: 3,
  atMs: 17200,
  marker: undefined,
  alone: true,
  maxRssBytes: 2048,
  cpuSeconds: 0.01,
  message: undefined,
};

describe("orders", () => {
  const runs = fc.array(
    fc.record({
      token: fc.constant(null).map(() => newToken()),
      directory: fc.string({ unit: "binary", minLength: 1 }),
      plan: fc.string({ unit: "binary" }),
      share: fc.record({ cores: fc.integer({ min: 1, max: 1e6 }), memoryBytes: fc.nat() }),
      gpus: fc.array(fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._:-]{0,20}$/), { maxLength: 4 }),
      needMs: fc.option(fc.integer({ min: 1, max: 1e9 }), { nil: undefined }),
      graceMs: fc.nat(),
      spread: fc.boolean(),
    }),
  );

  it("say which attempts were handed over, whatever paths and plans hold", fuzzing, () => {
    fc.assert(
      fc.property(runs, (wanted) => {
        const orders = wanted.map((run) => ({ ...run, share: { ...run.share, gpus: run.gpus.length } }));
        const read = readOrders(writeOrders({ runs: orders, holds: orders, stops: [token], frees: [token] })) ?? [];
        expect(read.map((order) => ({ ...order, needMs: undefined }))).toEqual([
          ...orders.map(({ plan: _plan, graceMs: _grace, spread: _spread, ...rest }) => {
            return { ...rest, kind: "run", needMs: undefined };
          }),
          ...orders.map(({ token: held, share, gpus }) => ({
            token: held,
            share,
            gpus,
            kind: "hold",
            needMs: undefined,
          })),
        ]);
        for (const [index, { needMs }] of orders.entries()) {
          const again = read[index];
          expect((again?.kind === "run" && again.needMs) || 0).toBeGreaterThanOrEqual(needMs ?? 0);
        }
      }),
      fuzz(200),
    );
  });

  it("that are damaged are not read at all", () => {
    const share = { cores: 1, memoryBytes: 0, gpus: 0 };
    const run = { token, directory: "/d", plan: "plan", share, gpus: [], needMs: 1, graceMs: 1, spread: false };
    const good = writeOrders({ runs: [run] });
    expect(readOrders(good)).toHaveLength(1);
    expect(readOrders(good.subarray(0, -1))).toBeUndefined();
    expect(readOrders(Buffer.concat([good, Buffer.from("walk\n")]))).toBeUndefined();
  });
});

describe("a node's events", () => {
  it.each([
    ["beat 17000 120 node7", { kind: "beat", atMs: 17000, leftMs: 120_000, host: "node7" }],
    ["ending 17000 the scheduler sent SIGTERM", { kind: "ending", atMs: 17000, why: "the scheduler sent SIGTERM" }],
    [`started ${token} 17000`, { kind: "started", token, atMs: 17000 }],
    [`back ${token} too little time is left`, { kind: "back", token, why: "too little time is left" }],
    [`gone ${token}`, { kind: "gone", token }],
    [`clear ${token}`, { kind: "clear", token }],
    [`ended ${token}`, { kind: "ended", token }],
    [`ended ${token} 17000 exit 3 17200 - 1 2048 0.010`, { kind: "ended", token, record: { startedAtMs: 17000, rc } }],
    [`ended ${token} 17000 exit 3`, { kind: "ended", token }],
    ["over", { kind: "over" }],
    ["started no-token 1", undefined],
    ["sings loudly", undefined],
    ["", undefined],
  ])("%s", (line, event) => {
    expect(parseEvent(line)).toEqual(event);
  });
});

describe("the script of an allocation", () => {
  it("sets PATH, runs the site's lines and becomes the node agent, on every node by the starter", () => {
    const body = allocationBody({
      path: "/opt/slurm/bin:/usr/bin",
      preamble: ["module load cray-python"],
      starter: ["srun", "--overlap", "--ntasks-per-node=1"],
      directory: "/scratch/it's here/.siteagent/pilots/cpu/abc",
      node: "/scratch/node.pl",
      recorder: "/scratch/recorder.pl",
      nodes: 4,
      cores: 64,
      memoryBytes: 1024,
      walltimeS: 3600,
      marginS: 60,
      idleS: 300,
      beatS: 10,
    });
    expect(body).toMatchInlineSnapshot(`
      "began=$(date +%s)
      for perl in /usr/bin/perl /usr/local/bin/perl /bin/perl; do [ ! -x "$perl" ] || break; done
      if [ ! -x "$perl" ]; then echo "siteagent: there is no perl on this node" >&2; exit 69; fi
      PATH='/opt/slurm/bin:/usr/bin'
      export PATH
      module load cray-python
      exec 'srun' '--overlap' '--ntasks-per-node=1' "$perl" '/scratch/node.pl' "began=$began" 'allocation=/scratch/it'\\''s here/.siteagent/pilots/cpu/abc' 'recorder=/scratch/recorder.pl' 'nodes=4' 'cores=64' 'memory=1024' 'walltime=3600' 'margin=60' 'idle=300' 'beat=10'
      "
    `);
  });
});

describe("what a node is told of an attempt", () => {
  const ground = { path: "/usr/bin", vendor: "nvidia", hasGpus: false } as const;
  const plan = (starter: MpiStarter | undefined, nodes: number): AttemptPlan => ({
    token,
    attempt: 1,
    directory: "/d",
    workDirectory: "/w",
    argv: ["starter", "-n", "4", "program"],
    environment: {},
    runtime: "plain",
    umask: 0o077,
    limitMs: undefined,
    graceMs: 1_000,
    maxOutputBytes: 1,
    resources: { nodes, ranks_per_node: 2, threads_per_rank: 1, gpus: 0 },
    starter,
  });
  const argvOf = (starter: MpiStarter | undefined, hosts: readonly [string, ...string[]]): readonly string[] => {
    const order = orderOf(plan(starter, hosts.length), { hosts, gpus: [] }, ground);
    const [count, ...rest] = order.plan.split("\0").slice(11);
    return rest.slice(Number(count));
  };

  it.each([
    ["srun", ["starter", "--overlap", "--whole", "--nodelist=n1,n2", "-n", "4", "program"]],
    ["mpiexec-openmpi", ["starter", "--host", "n1:2,n2:2", "-n", "4", "program"]],
    ["mpiexec-hydra", ["starter", "-hosts", "n1:2,n2:2", "-n", "4", "program"]],
    ["mpiexec-pals", ["starter", "--hosts", "n1,n2", "-n", "4", "program"]],
    [undefined, ["starter", "-n", "4", "program"]],
  ] as const)("names its nodes to %s", (starter, argv) => {
    expect(argvOf(starter, ["n1", "n2"])).toEqual(argv);
  });

  it("names the node to a starter that would take all nodes of the allocation, and to no other", () => {
    expect(argvOf("srun", ["n1"])).toContain("--nodelist=n1");
    expect(argvOf("mpirun", ["n1"])).toEqual(["starter", "-n", "4", "program"]);
    expect(argvOf("mpiexec-openmpi", ["n1"])).toEqual(["starter", "-n", "4", "program"]);
  });

  it("holds the time of an allocation for a limit where it has none of its own", () => {
    const order = orderOf(plan(undefined, 1), { hosts: ["n1"], gpus: [], lentMs: 60_000 }, ground);
    expect([order.needMs, order.plan.split("\0")[2]]).toEqual([60_000, "59000"]);
    const own = { ...plan(undefined, 1), limitMs: 5_000 };
    const kept = orderOf(own, { hosts: ["n1"], gpus: [], lentMs: 60_000 }, ground);
    expect([kept.needMs, kept.plan.split("\0")[2]]).toEqual([6_000, "5000"]);
  });
});
