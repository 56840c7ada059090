/** Memory limits as a centre enforces them: by control groups. */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Scheduler } from "../../../src/schedulers/types.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import type { SlurmCluster } from "../../helpers/engines/slurm-cluster.ts";
import { ended, requestFor, slurmOf, small, startCluster, submitted, workdirOf } from "./slurm-place.ts";

let cluster: SlurmCluster;
let slurm: Scheduler;

describeWithEngine("slurm-cgroup", "a job's memory limit", () => {
  beforeAll(async () => {
    cluster = await startCluster({ nodes: 1, cgroup: true });
    slurm = slurmOf(cluster);
  });
  afterAll(() => cluster[Symbol.asyncDispose]());

  const resources = { ...small.resources, memory: 60 * 2 ** 20 };
  // A line of 250 MB, which the command has to hold whole.
  const greedy = "head -c 250000000 /dev/zero | tr '\\0' x | awk '{ print length }'";

  it("E11: what is killed for it is out of memory, also when the script goes on and ends with 0", async () => {
    const asked = requestFor(workdirOf(cluster), `${greedy}\nexit 0`, { resources });
    const verdict = await ended(slurm, await submitted(slurm, asked));
    expect(verdict).toMatchObject({ kind: "oom", raw: expect.stringContaining("OUT_OF_MEMORY") });
    expect(verdict.exitCode).toBeUndefined();
  });

  it("lets be what stays below", async () => {
    const asked = requestFor(workdirOf(cluster), "exit 0", { resources });
    expect(await ended(slurm, await submitted(slurm, asked))).toMatchObject({ kind: "completed", exitCode: 0 });
  });
});
