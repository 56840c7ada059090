/** An agent with 1,000 running jobs and 10,000 open ones on the hub while nothing changes, and its restart. */
import { setTimeout as sleep } from "node:timers/promises";
import { waitFor } from "../test/helpers/wait.ts";
import { type Bench, median } from "./lib/bench.ts";
import { cpuSecondsPerHour, memoryMiB } from "./lib/process.ts";
import { startRelease } from "./lib/release.ts";

const long = { command: ["/bin/sleep", "86400"], grace: "1s" };

export const bench: Bench = {
  about:
    "10,000 jobs (`sleep`) are created, 1,000 of them run on one site with 1,000 slots, the others wait on the hub. Once nothing changes: memory and processor time of the agent. Then the agent is killed and started again, several times: from its start until it knows of every attempt that it still runs (line “attempts are followed” of its log).",
  async run({ quick, say }) {
    const running = quick ? 100 : 1_000;
    const samples = quick ? 3 : 12;
    await using site = await startRelease({
      slots: running,
      apps: { long },
      agent: { max_jobs: running },
    });
    await site.client.bulk(Array.from({ length: running * 10 }, () => ({ workflow: "long", config: {} })));
    await waitFor(async () => (await site.client.jobPage({ status: "RUNNING", limit: 1 })).total === running, {
      what: `${running} running jobs`,
      timeoutMs: 900_000,
      intervalMs: 1_000,
    });
    say(`${running} jobs run`);
    await sleep(quick ? 5_000 : 60_000);
    const pid = site.agent?.pid ?? 0;
    const pss: number[] = [];
    const cores: number[] = [];
    for (let n = 0; n < samples; n++) {
      cores.push((await cpuSecondsPerHour(pid, () => sleep(quick ? 5_000 : 10_000))) / 36);
      pss.push(memoryMiB(pid).pss);
    }
    const restarts: number[] = [];
    for (let n = 0; n < (quick ? 2 : 5); n++) {
      await site.killAgent();
      const startedAt = performance.now();
      const agent = await site.startAgent({ wait: false });
      await waitFor(() => followed(agent.stdout) >= running, { what: "all attempts adopted", timeoutMs: 120_000 });
      restarts.push((performance.now() - startedAt) / 1000);
      say(`adopted in ${restarts.at(-1)?.toFixed(2)} s`);
    }
    const cpu = cores.reduce((sum, one) => sum + one, 0) / samples;
    return [
      {
        what: `PSS of the agent, ${running} running, MiB`,
        values: pss,
        goal: { text: "≤ 150 MiB", held: median(pss) <= 150 },
      },
      {
        what: `processor time, % of a core (${samples} spans)`,
        values: cores,
        goal: { text: `mean ≤ 2 %, was ${cpu.toFixed(2)} %`, held: cpu <= 2 },
      },
      {
        what: `restart until ${running} attempts are adopted, s`,
        values: restarts,
        goal: { text: "≤ 5 s each", held: Math.max(...restarts) <= 5 },
      },
    ];
  },
};

/** Attempts that the agent says it found running. */
function followed(log: string): number {
  const counts = log.matchAll(/"running":(\d+).*"msg":"attempts are followed"/g);
  return Math.max(0, ...[...counts].map((match) => Number(match[1])));
}
