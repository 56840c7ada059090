import { describe, expect, it } from "vitest";
import type { Token } from "../../../../src/common/token.ts";
import { LocalHost } from "../../../../src/hosts/local/index.ts";
import { problemsOf } from "../../../../src/schedulers/sge/directives.ts";
import { createGridEngine } from "../../../../src/schedulers/sge/index.ts";
import type { Placement, SubmitRequest } from "../../../../src/schedulers/types.ts";

function request(placement: Partial<Placement> = {}, more: Partial<SubmitRequest> = {}): SubmitRequest {
  return {
    token: "abcdefghijklmno" as Token,
    tasks: 1,
    resources: { nodes: 1, ranks_per_node: 1, threads_per_rank: 1, gpus: 0 },
    walltimeS: 3_600,
    placement: { native: [], ...placement },
    directory: "/scratch/svc/job one",
    log: "/scratch/svc/log",
    body: "echo hello\n",
    ...more,
  };
}

const large = { nodes: 2, ranks_per_node: 8, threads_per_rank: 2, gpus: 16, memory: 10_000_000_001 };
const everything = {
  queue: "long.q,all.q@@big",
  account: "m1234",
  project: "genomics",
  reservation: "12",
  constraint: "arch=lx*",
  licenses: "app=2",
  exclusive: true,
  parallelEnvironment: "mpi",
};

describe("the script for Grid Engine", () => {
  const scheduler = createGridEngine({ host: new LocalHost({ name: "here", workdir: "/scratch" }), environment: {} });

  it("of a small job", () => {
    expect(scheduler.render(request())).toMatchInlineSnapshot(`
      "#!/bin/sh
      #$ -N abcdefghijklmno
      #$ -ac siteagent=abcdefghijklmno
      #$ -S /bin/sh
      #$ -r n
      #$ -m n
      #$ -wd '/scratch/svc/job one'
      #$ -j y
      #$ -o /scratch/svc/log
      #$ -l h_rt=01:00:00

      SITEAGENT_TASK=0
      SITEAGENT_NATIVE_ID=$JOB_ID
      SITEAGENT_RESTARTS=\${RESTARTED:-}

      echo hello
      "
    `);
  });

  it("of a large array with all that can be asked for", () => {
    const asked = request({ ...everything, native: ["-p", "-10"] }, { tasks: 20, resources: large });
    expect(problemsOf(asked)).toEqual([]);
    expect(scheduler.render(asked)).toMatchInlineSnapshot(`
      "#!/bin/sh
      #$ -N abcdefghijklmno
      #$ -ac siteagent=abcdefghijklmno
      #$ -S /bin/sh
      #$ -r n
      #$ -m n
      #$ -t 1-20
      #$ -wd '/scratch/svc/job one'
      #$ -j y
      #$ -o /scratch/svc/log.$TASK_ID
      #$ -pe mpi 32
      #$ -l 'h_rt=01:00:00,h_vmem=610352K,gpu=1,exclusive=true,arch=lx*,app=2'
      #$ -q long.q,all.q@@big
      #$ -A m1234
      #$ -P genomics
      #$ -ar 12
      #$ -p -10

      SITEAGENT_TASK=$((SGE_TASK_ID - 1))
      SITEAGENT_NATIVE_ID=$JOB_ID
      SITEAGENT_RESTARTS=\${RESTARTED:-}

      echo hello
      "
    `);
  });
});

describe("what Grid Engine cannot do is said before", () => {
  it.each([
    [{ qos: "high" }, {}, "no QOS"],
    [{}, { resources: large }, "32 cores need a parallel environment"],
    [{ parallelEnvironment: "mpi" }, { resources: { ...large, gpus: 3 } }, "3 do not spread over 16 slots"],
    [{ reservation: "mine" }, {}, "is a number"],
    [{}, { log: "/a:b" }, "mean something"],
    [{}, { log: "/a/$JOB_ID" }, "mean something"],
    [{}, { directory: "/a/$HOME" }, "means something"],
    [{ native: ["-N", "other"] }, {}, "'-N' is set by the agent itself"],
    [{ native: ["-verify"] }, {}, "'-verify' is set by the agent itself"],
    [{ native: ["script.sh"] }, {}, "does not begin with '-'"],
    [{ account: "it's" }, {}, "cannot be given quotes"],
  ] as const)("%j %j", (placement, more, words) => {
    expect(problemsOf(request(placement, more)).join("; ")).toContain(words);
  });

  it("all at once, and nothing where nothing is wrong", () => {
    expect(problemsOf(request({ qos: "x", reservation: "y" }, { log: "/a:b" }))).toHaveLength(3);
    expect(problemsOf(request({ native: ["-p", "1", "-a", "203012312359"] }))).toEqual([]);
  });
});
