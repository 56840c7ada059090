/** MPI programs in an allocation of a real Slurm: srun starts each rank once, on the nodes that the job has. */
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { LocalHost } from "../../../src/hosts/local/index.ts";
import { SchedulerQueue } from "../../../src/launchers/batch/queue.ts";
import type { AttemptPlan } from "../../../src/launchers/types.ts";
import { createSlurm } from "../../../src/schedulers/slurm/index.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { SlurmCluster } from "../../helpers/engines/slurm-cluster.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { isAlive, listProcesses } from "../../helpers/processes.ts";
import { waitFor } from "../../helpers/wait.ts";
import { launchOne, makePlan, readOut, stopped, untilState } from "./attempts.ts";
import { batchHarness } from "./batch-harness.ts";
import { pilotHarness } from "./pilot-harness.ts";
import { planApp } from "./planned.ts";

failOnLeakedProcesses();

describeWithEngine("slurm", "ranks by srun on a real Slurm", () => {
  it(
    "run on all nodes of the job, each once, with arguments and variables as they are",
    { timeout: 120_000 },
    async () => {
      await using slurm = await SlurmCluster.start();
      const host = new LocalHost({ name: "here", workdir: slurm.directory });
      const scheduler = createSlurm({ host, environment: slurm.environment });
      await using harness = await batchHarness({ queue: new SchedulerQueue({ scheduler, pollMs: 500 }) });
      const script =
        '{ printf "%s of %s on %s %s" "$SLURM_PROCID" "$SLURM_NTASKS" "$SLURMD_NODENAME" "$MARK"; printf " <%s>" "$@"; } >"rank-$SLURM_PROCID"';
      const odd = ["--help", "-n", "7", "*", "$(id)", "a b", "", "--"];
      const plan = await planApp(
        harness.root,
        {
          mpi: { starter: "srun", bind: "none", options: ["--mpi=none"] },
          resources: { nodes: 2, ranks_per_node: 2, walltime: "1m" },
          environment: { MARK: "$(id) 'x'" },
          command: ["sh", "-c", script, "sh", ...odd],
        },
        { allocation: true, shared: false },
      );
      const ref = await launchOne(harness.launcher, plan);
      const { end } = await untilState(harness.launcher, ref, "ended", 90_000);
      expect(end, await readOut(plan, "err").catch(() => "")).toMatchObject({ cause: "exit", exit_code: 0 });
      const ranks = (await readdir(plan.workDirectory)).filter((name) => name.startsWith("rank-")).toSorted();
      expect(ranks).toEqual(["rank-0", "rank-1", "rank-2", "rank-3"]);
      const words = odd.map((word) => `<${word}>`).join(" ");
      const seen = await Promise.all(ranks.map((name) => readFile(join(plan.workDirectory, name), "utf8")));
      const [first = "", second = ""] = slurm.nodes;
      expect(seen).toEqual(
        [first, first, second, second].map((node, rank) => `${rank} of 4 on ${node} $(id) 'x' ${words}`),
      );
    },
  );

  it(
    "run on nodes of an allocation that others share, are over when srun's ranks are, and leave their room to the next",
    { timeout: 180_000 },
    async () => {
      await using slurm = await SlurmCluster.start({ nodes: 3 });
      const host = new LocalHost({ name: "here", workdir: slurm.directory });
      const scheduler = createSlurm({ host, environment: slurm.environment });
      const place = { cores: 2, memoryBytes: undefined, gpuIds: [], gpuVendor: "nvidia" } as const;
      await using harness = await pilotHarness({
        queue: new SchedulerQueue({ scheduler, pollMs: 500 }),
        path: slurm.environment["PATH"] ?? "",
        nodes: 3,
        starter: ["srun", "--overlap", "--nodes", "3", "--ntasks-per-node=1", "--cpu-bind=none", "--mem=0"],
        node: place,
      });
      const { launcher, root } = harness;
      const small = await launchOne(launcher, await makePlan(root, "sleep 100"));
      const ranks = async (script: string): Promise<AttemptPlan> =>
        await planApp(
          root,
          {
            mpi: { starter: "srun", options: ["--mpi=none"] },
            resources: { nodes: 2, ranks_per_node: 2, walltime: "2m" },
            command: ["sh", "-c", script],
          },
          { allocation: true, shared: true },
        );
      const first = await ranks('echo "$SLURMD_NODENAME $SLURM_NTASKS" >"rank-$SLURM_PROCID"');
      const { end } = await untilState(launcher, await launchOne(launcher, first), "ended", 90_000);
      expect(end, await readOut(first, "err").catch(() => "")).toMatchObject({ cause: "exit", exit_code: 0 });
      const names = (await readdir(first.workDirectory)).filter((name) => name.startsWith("rank-")).toSorted();
      expect(names).toEqual(["rank-0", "rank-1", "rank-2", "rank-3"]);
      const seen = await Promise.all(names.map((name) => readFile(join(first.workDirectory, name), "utf8")));
      expect(new Set(seen).size).toBe(2);
      expect((await untilState(launcher, small, "running")).node).toBeOneOf([...slurm.nodes]);
      // Ranks that nobody ends: srun is killed, and they are children of slurmstepd.
      const deaf = await ranks("trap '' TERM INT HUP; echo $$ >\"pid-$SLURM_PROCID\"; while :; do sleep 1; done");
      const ref = await launchOne(launcher, deaf);
      const pids = await waitFor(
        async () => {
          const found = (await readdir(deaf.workDirectory)).filter((name) => name.startsWith("pid-"));
          return found.length === 4 ? found : undefined;
        },
        { what: "its ranks", timeoutMs: 60_000 },
      );
      const numbers = await Promise.all(
        pids.map(async (name) => Number(await readFile(join(deaf.workDirectory, name), "utf8"))),
      );
      const sruns = listProcesses().filter(({ command }) => /^srun .*pid-\$SLURM_PROCID/s.test(command));
      // Its helper first, which would end the step.
      for (const { pid } of sruns.toSorted((one, other) => other.pid - one.pid)) process.kill(pid, "SIGKILL");
      const lost = await untilState(launcher, ref, "ended", 60_000);
      expect(lost.end).toMatchObject({ cause: "signal", signal: "SIGKILL" });
      expect(numbers.filter(isAlive)).toEqual([]);
      const next = await ranks("exit 0");
      const again = await untilState(launcher, await launchOne(launcher, next), "ended", 90_000);
      expect(again.end).toMatchObject({ cause: "exit", exit_code: 0 });
      await stopped(launcher, small);
    },
  );
});
