/** No-op jobs from their bulk creation to `done` on the hub, beside `xargs -P2 /bin/true`; and what 50,000 of them leave in memory. */
import { spawnSync } from "node:child_process";
import type { Bench, BenchOptions, Figure } from "./lib/bench.ts";
import { median } from "./lib/bench.ts";
import { runInBulk } from "./lib/bulk.ts";
import { memoryMiB } from "./lib/process.ts";
import { startRelease } from "./lib/release.ts";

const goalRatio = 0.15;
/** Growth of any process between the second and the last round above which its memory is not flat. */
const flatRatio = 1.2;

export const bench: Bench = {
  about:
    "No-op jobs (`/bin/true`) are created in bulk on a fresh hub (SQLite) and run through agent, runner and recorder until the hub says that the last has ended; release build, 128 slots, ended jobs kept for 1 s. Beside each round `xargs -P2 -n1 /bin/true` in the same minute. Memory is the PSS of hub, agent and runner after each round.",
  async run(options) {
    const rounds = options.quick ? 3 : 10;
    const jobs = options.quick ? 300 : 5_000;
    await using site = await startRelease({ slots: 128, agent: { keep: "1s", max_jobs: 1_000 } });
    const ours: number[] = [];
    const peers: number[] = [];
    const memory: Record<string, number[]> = { hub: [], agent: [], runner: [] };
    for (let round = 0; round < rounds; round++) {
      peers.push(xargsPerSecond(options.quick ? 1_000 : 5_000));
      ours.push(jobs / (await runInBulk(site, "noop", jobs)));
      const pids = { hub: site.hub.pid, agent: site.agent?.pid, runner: site.runnerPid };
      for (const [name, pid] of Object.entries(pids)) if (pid !== undefined) memory[name]?.push(memoryMiB(pid).pss);
      say(options, round, { ours, peers, memory });
    }
    const ratio = median(ours) / median(peers);
    return [
      {
        what: "no-op jobs created and done, 1/s",
        values: ours,
        beside: { what: "xargs -P2 /bin/true, 1/s", values: peers },
        goal: { text: `≥ ${goalRatio} of it`, held: ratio >= goalRatio },
      },
      ...Object.entries(memory).map(([name, values]) => flat(name, values, rounds * jobs)),
    ];
  },
};

function say(
  { say: tell }: BenchOptions,
  round: number,
  seen: { ours: number[]; peers: number[]; memory: object },
): void {
  const memory = Object.entries(seen.memory as Record<string, number[]>).map(
    ([name, values]) => `${name} ${Math.round(values.at(-1) ?? 0)} MiB`,
  );
  tell(
    `round ${round + 1}: ${seen.ours.at(-1)?.toFixed(0)} jobs/s, xargs ${seen.peers.at(-1)?.toFixed(0)}/s, ${memory.join(", ")}`,
  );
}

function flat(name: string, values: readonly number[], jobs: number): Figure {
  const [, second = 0] = values;
  return {
    what: `PSS of the ${name} over ${jobs} jobs, MiB`,
    values,
    goal: { text: `last ≤ ${flatRatio} × second round`, held: (values.at(-1) ?? Infinity) <= flatRatio * second },
  };
}

function xargsPerSecond(count: number): number {
  const startedAt = performance.now();
  const input = Array.from({ length: count }, (_, index) => `${index}\n`).join("");
  const { status } = spawnSync("xargs", ["-P2", "-n1", "/bin/true"], { input });
  if (status !== 0) throw new Error(`xargs ended with ${status}`);
  return (count * 1000) / (performance.now() - startedAt);
}
