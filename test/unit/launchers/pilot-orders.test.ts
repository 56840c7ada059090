import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { newToken } from "../../../src/common/token.ts";
import { parseEvent, readOrders, writeOrders } from "../../../src/launchers/pilot/orders.ts";
import { allocationBody } from "../../../src/launchers/pilot/script.ts";
import { fuzz, fuzzing } from "../../helpers/fuzz.ts";

const token = newToken();

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
    }),
  );

  it("say which attempts were handed over, whatever paths and plans hold", fuzzing, () => {
    fc.assert(
      fc.property(runs, (wanted) => {
        const orders = wanted.map((run) => ({ ...run, share: { ...run.share, gpus: run.gpus.length } }));
        const read = readOrders(writeOrders(orders, [token]));
        expect(read?.map(({ needMs: _need, ...rest }) => rest)).toEqual(
          orders.map(({ plan: _plan, graceMs: _grace, needMs: _need, ...rest }) => rest),
        );
        for (const [index, { needMs }] of orders.entries())
          expect(read?.[index]?.needMs ?? 0).toBeGreaterThanOrEqual(needMs ?? 0);
      }),
      fuzz(200),
    );
  });

  it("that are damaged are not read at all", () => {
    const share = { cores: 1, memoryBytes: 0, gpus: 0 };
    const good = writeOrders([{ token, directory: "/d", plan: "plan", share, gpus: [], needMs: 1, graceMs: 1 }]);
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
