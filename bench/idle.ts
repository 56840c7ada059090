/** What an agent costs that has nothing to do: memory and processor time, its runner gone. */
import { setTimeout as sleep } from "node:timers/promises";
import { Program } from "../test/helpers/program.ts";
import { waitFor } from "../test/helpers/wait.ts";
import { type Bench, median } from "./lib/bench.ts";
import { cpuSecondsPerHour, memoryMiB } from "./lib/process.ts";
import { startRelease } from "./lib/release.ts";

export const bench: Bench = {
  about:
    "An agent of the release build that has run one job, then had nothing to do until its runner ended (60 s), connected to its hub by long-poll. PSS is the memory with shared pages counted by share; private memory is what would be free if the process ended, whatever else runs. Beside: a Node process that does nothing (`node -e 'setInterval(() => {}, 1e9)'`).",
  async run({ quick, say }) {
    const samples = quick ? 3 : 30;
    const intervalMs = 10_000;
    await using site = await startRelease();
    await using empty = await Program.start(process.execPath, ["-e", "setInterval(() => {}, 1e9)"], { input: "" });
    await waitFor(() => site.runnerPid === undefined, {
      what: "the end of the runner",
      timeoutMs: 180_000,
      intervalMs: 500,
    });
    const pid = site.agent?.pid ?? 0;
    const measured = { pss: [] as number[], own: [] as number[], cpu: [] as number[] };
    const peer = { pss: [] as number[], own: [] as number[] };
    for (let n = 0; n < samples; n++) {
      measured.cpu.push(await cpuSecondsPerHour(pid, () => sleep(intervalMs)));
      const [ours, theirs] = [memoryMiB(pid), memoryMiB(empty.pid)];
      measured.pss.push(ours.pss);
      measured.own.push(ours.own);
      peer.pss.push(theirs.pss);
      peer.own.push(theirs.own);
      say(`PSS ${ours.pss.toFixed(0)} MiB, an empty Node ${theirs.pss.toFixed(0)} MiB`);
    }
    const cpu = measured.cpu.reduce((sum, one) => sum + one, 0) / samples;
    const held = median(measured.pss) <= 80 && site.runnerPid === undefined;
    return [
      {
        what: "PSS of the agent, MiB",
        values: measured.pss,
        beside: { what: "empty Node, MiB", values: peer.pss },
        goal: { text: "≤ 80 MiB, runner gone", held },
      },
      {
        what: "private memory of the agent, MiB",
        values: measured.own,
        beside: { what: "empty Node, MiB", values: peer.own },
      },
      {
        what: `processor time per hour, s (each of ${samples} spans of 10 s)`,
        values: measured.cpu,
        goal: { text: `mean ≤ 2 s, was ${cpu.toFixed(2)} s`, held: cpu <= 2 },
      },
    ];
  },
};
