/** MPI programs in an allocation of a real Slurm: srun starts each rank once, on the nodes that the job has. */
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { LocalHost } from "../../../src/hosts/local/index.ts";
import { SchedulerQueue } from "../../../src/launchers/batch/queue.ts";
import { createSlurm } from "../../../src/schedulers/slurm/index.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { SlurmCluster } from "../../helpers/engines/slurm-cluster.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { launchOne, readOut, untilState } from "./attempts.ts";
import { batchHarness } from "./batch-harness.ts";
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
});
