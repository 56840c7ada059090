/** Short jobs through one allocation of two cores, and how busy jobs of ten seconds keep it. */
import { spawnSync } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import type { AttemptPlan, Launcher } from "../src/launchers/types.ts";
import { context, makePlan } from "../test/integration/launchers/attempts.ts";
import { pilotHarness } from "../test/integration/launchers/pilot-harness.ts";
import type { Bench } from "./lib/bench.ts";
import { median } from "./lib/bench.ts";

const goalPerSecond = 200;
const goalUtilisation = 0.9;
const cores = 2;
const jobSeconds = 10;

export const bench: Bench = {
  about:
    "One allocation of two cores (its script runs as a process of this machine, agent's side and node's side share the two cores). Short jobs: `/bin/true` from the launch of all until the end of each is proven, beside `xargs -P2 -n1 /bin/true` in the same minute. Utilisation: jobs of `sleep 10` on two cores, from the launch of all until the last has ended: core seconds of the jobs by those of the allocation.",
  async run(options) {
    const rounds = options.quick ? 3 : 10;
    const jobs = options.quick ? 400 : 2_000;
    const node = { cores, memoryBytes: undefined, gpuIds: [], gpuVendor: "nvidia" } as const;
    await using harness = await pilotHarness({ node, lookMs: 1_000, beatMs: 10_000 });
    const { launcher, root } = harness;
    await runAll(launcher, [await makePlan(root, "exit 0")]);
    const ours: number[] = [];
    const peers: number[] = [];
    for (let round = 0; round < rounds; round++) {
      peers.push(xargsPerSecond(jobs));
      const plans = [];
      for (let count = 0; count < jobs; count++) plans.push(await makePlan(root, "", { argv: ["/bin/true"] }));
      ours.push(jobs / (await runAll(launcher, plans)));
      options.say(`round ${round + 1}: ${ours.at(-1)?.toFixed(0)} jobs/s, xargs ${peers.at(-1)?.toFixed(0)}/s`);
    }
    const long = options.quick ? 4 : 20;
    const utilisation: number[] = [];
    for (let round = 0; round < (options.quick ? 1 : 3); round++) {
      const plans = [];
      for (let count = 0; count < long; count++) plans.push(await makePlan(root, `sleep ${jobSeconds}`));
      utilisation.push((long * jobSeconds) / (cores * (await runAll(launcher, plans))));
      options.say(`utilisation ${utilisation.at(-1)?.toFixed(3)}`);
    }
    return [
      {
        what: "short jobs through one allocation of two cores, 1/s",
        values: ours,
        beside: { what: "xargs -P2 /bin/true, 1/s", values: peers },
        goal: { text: `≥ ${goalPerSecond}`, held: median(ours) >= goalPerSecond },
      },
      {
        what: `utilisation with jobs of ${jobSeconds} s`,
        values: utilisation,
        goal: { text: `≥ ${goalUtilisation}`, held: median(utilisation) >= goalUtilisation },
      },
    ];
  },
};

/** Seconds from the launch until the end of each is known. @throws Error when one does not end well */
async function runAll(launcher: Launcher, plans: readonly AttemptPlan[]): Promise<number> {
  const startedAt = performance.now();
  let news = Promise.withResolvers<void>();
  using _watch = launcher.watch(() => news.resolve());
  const results = await launcher.launch(plans, context);
  if (results.some(({ state }) => state !== "accepted")) throw new Error("not accepted");
  let open: readonly AttemptPlan[] = plans;
  while (open.length > 0) {
    const statuses = await launcher.statuses(open, context);
    for (const status of statuses) {
      if (status.state === "ended" && status.end.exit_code !== 0) throw new Error(JSON.stringify(status));
    }
    open = open.filter((_, index) => statuses[index]?.state !== "ended");
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
