/** MPI programs on several nodes of an allocation of a real Slurm that others share: started, side by side, and over to the last rank. */
import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { LocalHost } from "../../../src/hosts/local/index.ts";
import { SchedulerQueue } from "../../../src/launchers/batch/queue.ts";
import type { AttemptPlan } from "../../../src/launchers/types.ts";
import { createSlurm } from "../../../src/schedulers/slurm/index.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { SlurmCluster } from "../../helpers/engines/slurm-cluster.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { isAlive, killIfThere, listProcesses } from "../../helpers/processes.ts";
import { waitFor } from "../../helpers/wait.ts";
import { launchOne, makePlan, readOut, stopped, untilState } from "./attempts.ts";
import { type PilotHarness, pilotHarness } from "./pilot-harness.ts";
import { planApp } from "./planned.ts";

failOnLeakedProcesses();

type Mpi = NonNullable<Parameters<typeof planApp>[1]["mpi"]>;
const srun: Mpi = { starter: "srun", options: ["--mpi=none"] };

/** A launcher over a Slurm of three nodes, with one allocation of all of them. */
async function packed(): Promise<{ readonly slurm: SlurmCluster; readonly harness: PilotHarness } & AsyncDisposable> {
  await using resources = new AsyncDisposableStack();
  const slurm = resources.use(await SlurmCluster.start({ nodes: 3 }));
  const host = new LocalHost({ name: "here", workdir: slurm.directory });
  const scheduler = createSlurm({ host, environment: slurm.environment });
  const harness = resources.use(
    await pilotHarness({
      queue: new SchedulerQueue({ scheduler, pollMs: 500 }),
      path: slurm.environment["PATH"] ?? "",
      nodes: 3,
      starter: ["srun", "--overlap", "--nodes", "3", "--ntasks-per-node=1", "--cpu-bind=none", "--mem=0"],
      node: { cores: 4, memoryBytes: undefined, gpuIds: [], gpuVendor: "nvidia" },
    }),
  );
  const all = resources.move();
  return { slurm, harness, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

function ranks({ root }: PilotHarness, mpi: Mpi, script: string): Promise<AttemptPlan> {
  const environment = { OMPI_ALLOW_RUN_AS_ROOT: "1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1" };
  const resources = { nodes: 2, ranks_per_node: 2, walltime: "2m" };
  const app = { mpi, resources, environment, command: ["sh", "-c", script] };
  return planApp(root, app, { allocation: true, shared: true });
}

async function endsWell({ launcher }: PilotHarness, plan: AttemptPlan): Promise<void> {
  const { end } = await untilState(launcher, plan, "ended", 60_000);
  expect(end, await readOut(plan, "err").catch(() => "")).toMatchObject({ cause: "exit", exit_code: 0 });
}

/** Two at the same time, whose ranks wait for each other: eight ranks, each once, on two nodes for each program. */
async function runSideBySide(
  { slurm, harness }: { readonly slurm: SlurmCluster; readonly harness: PilotHarness },
  mpi: Mpi,
): Promise<void> {
  const meeting = join(harness.root, String(mpi.starter));
  await mkdir(meeting);
  // mpiexec hands its own variables on to all ranks: the daemon that started one has those of its node.
  const daemons = "$(tr '\\0' '\\n' </proc/$PPID/environ | sed -n s/^SLURMD_NODENAME=//p)";
  const node = mpi === srun ? "$SLURMD_NODENAME" : daemons;
  const rank = "${PMI_RANK:-${OMPI_COMM_WORLD_RANK:-$SLURM_PROCID}}";
  const note = `echo "${node}" >"${meeting}/$SITEAGENT_ATTEMPT_TOKEN-${rank}"`;
  const script = `${note}; until [ "$(ls "${meeting}" | wc -l)" -eq 8 ]; do sleep 0.1; done`;
  const plans = [await ranks(harness, mpi, script), await ranks(harness, mpi, script)];
  for (const plan of plans) await launchOne(harness.launcher, plan);
  for (const plan of plans) await endsWell(harness, plan);
  for (const { token } of plans) {
    const names = [0, 1, 2, 3].map((index) => `${token}-${index}`);
    const seen = await Promise.all(names.map((name) => readFile(join(meeting, name), "utf8")));
    const nodes = seen.map((text) => text.trim());
    expect(nodes.map((name) => nodes.filter((other) => other === name).length)).toEqual([2, 2, 2, 2]);
    expect(slurm.nodes).toEqual(expect.arrayContaining(nodes));
  }
}

describeWithEngine("slurm", "ranks by srun on nodes of an allocation that others share", () => {
  it(
    "run beside each other and beside other attempts, and are ended to the last one before they count as over",
    { timeout: 180_000 },
    async () => {
      await using place = await packed();
      const { launcher, root } = place.harness;
      const small = await launchOne(launcher, await makePlan(root, "sleep 100"));
      await runSideBySide(place, srun);
      expect((await untilState(launcher, small, "running")).node).toBeOneOf([...place.slurm.nodes]);
      const script = "trap '' TERM INT HUP; echo $$ >\"pid-$SLURM_PROCID\"; while :; do sleep 1; done";
      const deaf = await ranks(place.harness, srun, script);
      const ref = await launchOne(launcher, deaf);
      const names = await waitFor(
        async () => {
          const found = (await readdir(deaf.workDirectory)).filter((name) => name.startsWith("pid-"));
          return found.length === 4 ? found : undefined;
        },
        { what: "its ranks", timeoutMs: 60_000 },
      );
      const texts = await Promise.all(names.map((name) => readFile(join(deaf.workDirectory, name), "utf8")));
      const sruns = listProcesses().filter(({ command }) => /^srun .*pid-\$SLURM_PROCID/s.test(command));
      // Its helper first, which would end the step.
      for (const { pid } of sruns.toSorted((one, other) => other.pid - one.pid)) killIfThere(pid);
      const { end } = await untilState(launcher, ref, "ended", 60_000);
      expect(end).toMatchObject({ cause: "signal", signal: "SIGKILL" });
      expect(texts.map(Number).filter(isAlive)).toEqual([]);
      await stopped(launcher, small);
    },
  );
});

describeWithEngine(["slurm", "openmpi"], "ranks of Open MPI there", () => {
  it("run beside each other", { timeout: 120_000 }, async () => {
    await using place = await packed();
    await runSideBySide(place, { starter: "mpiexec-openmpi", program: "mpiexec.openmpi" });
  });
});

describeWithEngine(["slurm", "mpich"], "ranks of MPICH there", () => {
  it("run beside each other", { timeout: 120_000 }, async () => {
    await using place = await packed();
    await runSideBySide(place, { starter: "mpiexec-hydra", program: "mpiexec.hydra" });
  });
});
