/** Short jobs through one allocation of two cores beside steps of `srun` there, and how busy jobs of ten seconds keep it. */
import { spawnSync } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { LocalHost } from "../src/hosts/local/index.ts";
import { SchedulerQueue } from "../src/launchers/batch/queue.ts";
import type { AttemptPlan, Launcher } from "../src/launchers/types.ts";
import { createSlurm } from "../src/schedulers/slurm/index.ts";
import { slurm } from "../test/helpers/engines/slurm.ts";
import { SlurmCluster } from "../test/helpers/engines/slurm-cluster.ts";
import { listProcesses } from "../test/helpers/processes.ts";
import { context, makePlan } from "../test/integration/launchers/attempts.ts";
import { type PilotHarness, pilotHarness } from "../test/integration/launchers/pilot-harness.ts";
import type { Bench, BenchOptions, Figure } from "./lib/bench.ts";
import { median } from "./lib/bench.ts";
import { cpuSeconds } from "./lib/process.ts";

const goalPerSecond = 200;
/** What a rate of 200/s leaves for each job on two cores. */
const goalCpuMs = 10;
const goalUtilisation = 0.9;
const cores = 2;
const jobSeconds = 10;

export const bench: Bench = {
  about:
    "One allocation of two cores of a private Slurm (no accounting, one simulated node; agent, Slurm's daemons and the jobs share the two cores of the machine). Short jobs: `/bin/true` from the launch of all until the end of each is proven; beside it two shell loops of `srun --overlap -n1 /bin/true` in the same allocation, and `xargs -P2 -n1 /bin/true`, which starts them and proves nothing, in the same minute. Processor time: of agent and node agent with all that they start, which on a machine that others use says more than a rate. Utilisation: jobs of `sleep 10` on two cores, from the launch of all until the last has ended: core seconds of the jobs by those of the allocation.",
  async run(options) {
    const found = await slurm.probe();
    if (!found.ok) {
      options.say(`not measured: ${found.reason}`);
      return [];
    }
    await using cluster = await SlurmCluster.start({ nodes: 1 });
    const host = new LocalHost({ name: "here", workdir: cluster.directory });
    const scheduler = createSlurm({ host, environment: cluster.environment });
    const node = { cores, memoryBytes: undefined, gpuIds: [], gpuVendor: "nvidia" } as const;
    await using harness = await pilotHarness({
      queue: new SchedulerQueue({ scheduler, pollMs: 30_000 }),
      node,
      lookMs: 1_000,
      beatMs: 10_000,
    });
    await runAll(harness.launcher, [await makePlan(harness.root, "exit 0")]);
    return [...(await shortJobs(harness, options)), await utilisation(harness, options)];
  },
};

async function shortJobs({ launcher, root }: PilotHarness, { quick, say }: BenchOptions): Promise<readonly Figure[]> {
  const rounds = quick ? 3 : 10;
  const jobs = quick ? 400 : 2_000;
  const steps = quick ? 40 : 200;
  const ours: number[] = [];
  const sruns: number[] = [];
  const bare: number[] = [];
  const cpuMs: number[] = [];
  for (let round = 0; round < rounds; round++) {
    bare.push(xargsPerSecond(jobs));
    const plans = [];
    for (let count = 0; count < jobs; count++) plans.push(await makePlan(root, "", { argv: ["/bin/true"] }));
    const usedBefore = cpuSecondsOf(root);
    ours.push(jobs / (await runAll(launcher, plans)));
    const used = cpuSecondsOf(root).map((seconds, index) => ((seconds - (usedBefore[index] ?? 0)) * 1000) / jobs);
    cpuMs.push(used.reduce((sum, each) => sum + each, 0));
    sruns.push(await stepsPerSecond(launcher, root, steps));
    const rates = [ours, sruns, bare].map((values) => values.at(-1)?.toFixed(0) ?? "");
    const sides = used.map((each) => each.toFixed(1)).join(" ms of the agent and ");
    say(`round ${round + 1}: ${rates[0]} jobs/s with ${sides} ms on the node, srun ${rates[1]}/s, xargs ${rates[2]}/s`);
  }
  const what = "short jobs through one allocation of two cores, 1/s";
  const held = median(ours) >= goalPerSecond;
  return [
    {
      what,
      values: ours,
      beside: { what: "srun --overlap -n1 /bin/true in it, 1/s", values: sruns },
      goal: { text: `≥ ${goalPerSecond}`, held },
    },
    { what, values: ours, beside: { what: "xargs -P2 /bin/true, 1/s", values: bare } },
    {
      what: "processor time of everything for one short job, ms",
      values: cpuMs,
      goal: { text: `≤ ${goalCpuMs}`, held: median(cpuMs) <= goalCpuMs },
    },
  ];
}

/** Of this process, and of the node agent with the process that forks recorders, their recorders and jobs. */
function cpuSecondsOf(root: string): readonly number[] {
  const agents = listProcesses().filter(({ command }) => command.includes(root) && /\/perl \S+node\.pl /.test(command));
  const forks = listProcesses().filter(({ parent }) => agents.some(({ pid }) => pid === parent));
  const node = [...agents, ...forks].reduce((sum, { pid }) => sum + cpuSeconds(pid, { ended: true }), 0);
  return [cpuSeconds(process.pid), node];
}

async function utilisation({ launcher, root }: PilotHarness, { quick, say }: BenchOptions): Promise<Figure> {
  const long = quick ? 4 : 20;
  const values: number[] = [];
  for (let round = 0; round < (quick ? 1 : 3); round++) {
    const plans = [];
    for (let count = 0; count < long; count++) plans.push(await makePlan(root, `sleep ${jobSeconds}`));
    values.push((long * jobSeconds) / (cores * (await runAll(launcher, plans))));
    say(`utilisation ${values.at(-1)?.toFixed(3)}`);
  }
  const held = median(values) >= goalUtilisation;
  return { what: `utilisation with jobs of ${jobSeconds} s`, values, goal: { text: `≥ ${goalUtilisation}`, held } };
}

/** A shell loop on each core of the allocation, as attempts in it. */
async function stepsPerSecond(launcher: Launcher, root: string, count: number): Promise<number> {
  const step = "srun --overlap -N1 -n1 --cpu-bind=none --mem=0 /bin/true";
  const loop = `i=0; while [ $i -lt ${count / cores} ]; do ${step} || exit 1; i=$((i+1)); done`;
  const plans = [];
  for (let core = 0; core < cores; core++) plans.push(await makePlan(root, loop));
  return count / (await runAll(launcher, plans));
}

/**
 * Seconds from the launch until the end of each is known; as the agent does, those are asked for that the launcher tells of, and all now and
 * then. @throws Error when one does not end well
 */
async function runAll(launcher: Launcher, plans: readonly AttemptPlan[]): Promise<number> {
  const startedAt = performance.now();
  let news = Promise.withResolvers<void>();
  let told = new Set<string>();
  using _watch = launcher.watch((token) => {
    told.add(token);
    news.resolve();
  });
  const results = await launcher.launch(plans, context);
  if (results.some(({ state }) => state !== "accepted")) throw new Error("not accepted");
  const open = new Map<string, AttemptPlan>(plans.map((plan) => [plan.token, plan]));
  for (let allAt = 0; open.size > 0;) {
    const isForAll = performance.now() >= allAt;
    if (isForAll) allAt = performance.now() + 250;
    const asked = [...(isForAll ? open.keys() : told)].flatMap((token) => open.get(token) ?? []);
    told = new Set();
    for (const [index, status] of (await launcher.statuses(asked, context)).entries()) {
      if (status.state !== "ended") continue;
      if (status.end.exit_code !== 0) throw new Error(JSON.stringify(status));
      open.delete(asked[index]?.token ?? "");
    }
    await Promise.race([news.promise, sleep(250)]);
    news = Promise.withResolvers<void>();
  }
  return (performance.now() - startedAt) / 1000;
}

function xargsPerSecond(count: number): number {
  const input = `${Array.from({ length: count }, (_, index) => index).join("\n")}\n`;
  const startedAt = performance.now();
  const { status } = spawnSync("xargs", ["-P2", "-n1", "/bin/true"], { input });
  if (status !== 0) throw new Error(`xargs ended with ${status}`);
  return (count / (performance.now() - startedAt)) * 1000;
}
