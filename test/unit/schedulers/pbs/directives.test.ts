import { describe, expect, it } from "vitest";
import type { Token } from "../../../../src/common/token.ts";
import { directivesOf, problemsOf } from "../../../../src/schedulers/pbs/directives.ts";
import { createPbs } from "../../../../src/schedulers/pbs/index.ts";

import type { Placement, SubmitRequest } from "../../../../src/schedulers/types.ts";
import { LocalHost } from "../../../../src/hosts/local/index.ts";

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

const large = { nodes: 4, ranks_per_node: 8, threads_per_rank: 2, gpus: 2, memory: 10_000_000_001, cores: 20 };
const everything = {
  queue: "long",
  account: "m12 34",
  project: "it's",
  constraint: "model=x",
  licenses: "app=2",
  exclusive: true,
};

describe("the script for PBS", () => {
  it("of a small job", () => {
    const pbs = createPbs({ host: new LocalHost({ name: "here", workdir: "/scratch" }), environment: {} });
    expect(pbs.render(request())).toMatchInlineSnapshot(`
      "#!/bin/sh
      #PBS -N abcdefghijklmno
      #PBS -v SITEAGENT_ATTEMPT_TOKEN=abcdefghijklmno
      #PBS -S /bin/sh
      #PBS -m n
      #PBS -r n
      #PBS -j oe
      #PBS -o /scratch/svc/log
      #PBS -l select=1:ncpus=1:mpiprocs=1:ompthreads=1
      #PBS -l place=pack
      #PBS -l walltime=01:00:00

      SITEAGENT_TASK=\${PBS_ARRAY_INDEX:-\${PBS_ARRAYID:-0}}
      SITEAGENT_NATIVE_ID="$PBS_JOBID"
      SITEAGENT_RESTARTS=
      cd '/scratch/svc/job one' || exit 1

      echo hello
      "
    `);
  });

  it("of a large array with all that can be asked for", () => {
    const asked = request(
      { ...everything, native: ["-l", "software=a b", "-p", "10"] },
      { tasks: 20, resources: large },
    );
    const pbs = createPbs({ host: new LocalHost({ name: "here", workdir: "/scratch" }), environment: {} });
    expect(pbs.render(asked)).toMatchInlineSnapshot(`
      "#!/bin/sh
      #PBS -N abcdefghijklmno
      #PBS -v SITEAGENT_ATTEMPT_TOKEN=abcdefghijklmno
      #PBS -S /bin/sh
      #PBS -m n
      #PBS -J 0-19
      #PBS -j oe
      #PBS -o /scratch/svc/log.^array_index^
      #PBS -l select=4:ncpus=20:mpiprocs=8:ompthreads=2:ngpus=2:mem=9765626kb:model=x
      #PBS -l place=scatter:excl
      #PBS -l walltime=01:00:00
      #PBS -q long
      #PBS -A 'm12 34'
      #PBS -P "it's"
      #PBS -l app=2
      #PBS -l 'software=a b' -p 10

      SITEAGENT_TASK=\${PBS_ARRAY_INDEX:-\${PBS_ARRAYID:-0}}
      SITEAGENT_NATIVE_ID="\${PBS_JOBID%%[[]*}[]\${PBS_JOBID#*]}"
      SITEAGENT_RESTARTS=
      cd '/scratch/svc/job one' || exit 1

      echo hello
      "
    `);
  });

  it("for Torque", () => {
    const asked = request(
      { queue: "long", reservation: "r.1", qos: "high", exclusive: true },
      { tasks: 3, resources: large },
    );
    expect(directivesOf(asked, "torque").join("\n")).toMatchInlineSnapshot(`
      "#PBS -N abcdefghijklmno
      #PBS -v SITEAGENT_ATTEMPT_TOKEN=abcdefghijklmno
      #PBS -S /bin/sh
      #PBS -m n
      #PBS -r n
      #PBS -t 0-2
      #PBS -j oe
      #PBS -o /scratch/svc/log
      #PBS -l nodes=4:ppn=20:gpus=2
      #PBS -l mem=39062501kb
      #PBS -n
      #PBS -l walltime=01:00:00
      #PBS -q long
      #PBS -l qos=high
      #PBS -W x=FLAGS:ADVRES:r.1"
    `);
  });
});

describe("what PBS cannot do is said before", () => {
  it.each([
    [{ qos: "high" }, "openpbs", "no QOS"],
    [{ queue: "a", reservation: "R1" }, "openpbs", "is a queue"],
    [{ parallelEnvironment: "smp" }, "openpbs", "parallel environments"],
    [{ project: "p" }, "torque", "no projects"],
    [{ licenses: "a=1" }, "torque", "no licences"],
    [{ native: ["-N", "other"] }, "openpbs", "'-N' is set by the agent itself"],
    [{ native: ["-Wblock=true"] }, "openpbs", "'-Wblock=true' is set by the agent itself"],
    [{ native: ["-W", "depend=afterok:1"] }, "openpbs", "'depend=afterok:1' is set by the agent itself"],
    [{ native: ["script.sh"] }, "openpbs", "does not begin with '-'"],
    [{ account: `'"` }, "openpbs", "both kinds of quotes"],
  ] as const)("%j for %s", (placement, flavour, words) => {
    expect(problemsOf(request(placement), flavour).join("; ")).toContain(words);
  });

  it("all at once, and nothing where nothing is wrong", () => {
    const wrong = request({ qos: "x", parallelEnvironment: "y" }, { log: "/a:b" });
    expect(problemsOf(wrong, "openpbs")).toHaveLength(3);
    expect(problemsOf(request({ ...everything, native: ["-p", "1"] }, { resources: large }), "openpbs")).toEqual([]);
  });
});
