/** A site whose jobs are jobs of a real Slurm: how fast they get into its queue beside a shell loop of `sbatch`, and how fast an end is known. */
import { spawn } from "node:child_process";
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { slurm } from "../test/helpers/engines/slurm.ts";
import { SlurmCluster } from "../test/helpers/engines/slurm-cluster.ts";
import type { TestSite } from "../test/helpers/site.ts";
import { waitFor } from "../test/helpers/wait.ts";
import { Control } from "../test/integration/agent/control.ts";
import { type Bench, type BenchOptions, type Figure, median, quantile } from "./lib/bench.ts";
import { startRelease } from "./lib/release.ts";

const loopGoal = 0.8;
const arrayGoal = 5;
const pollS = 30;

/** The job's only work is to say when it ended. */
const ends = {
  command: ["/bin/sh", "-c", 'exec date +%s%N > "$SITEAGENT_JOB_DIR/../../ended-$1"', "sh", "{{n}}"],
  parameters: { n: { type: "integer", minimum: 0 } },
};

export const bench: Bench = {
  about:
    "A private Slurm on loopback (no accounting, two simulated nodes). Submission: from the bulk creation of jobs on the hub until the controller took the last of them, by its log, into a partition that is down, so that nothing runs meanwhile; one job each, then as arrays; by agents that have submitted as many before; beside a shell loop of `sbatch` with a script of one line, in the same round. End: one `date` after the other with the default `poll` of 30 s, from the end of the process to `done` on the hub, asked for every 20 ms.",
  async run({ quick, say }) {
    const found = await slurm.probe();
    if (!found.ok) {
      say(`not measured: ${found.reason}`);
      return [];
    }
    const [rounds, jobs, dates] = quick ? [1, 100, 5] : [5, 1_000, 60];
    await using cluster = await SlurmCluster.start({ settings: { MaxJobCount: "20000" } });
    const { loop, single, arrays } = await submissions(cluster, { rounds, jobs, say });
    const beside = { what: "shell loop of sbatch, 1/s", values: loop };
    const ratio = (values: readonly number[]): number => median(values) / median(loop);
    const figures: Figure[] = [
      {
        what: "created → in Slurm's queue, one job each, 1/s",
        values: single,
        beside,
        goal: { text: `≥ ${loopGoal} of it`, held: ratio(single) >= loopGoal },
      },
      {
        what: "the same as arrays, tasks/s",
        values: arrays,
        beside,
        goal: { text: `≥ ${arrayGoal} times it`, held: ratio(arrays) >= arrayGoal },
      },
    ];
    const waits = await endsSeen(cluster, dates, say);
    const held = quantile(waits, 0.5) <= 2_000 && Math.max(...waits) <= (pollS + 2) * 1_000;
    figures.push({
      what: "process end → done on the hub, ms",
      values: waits,
      goal: { text: `p50 ≤ 2 s, never more than one interval (${pollS} s) + 2 s`, held },
    });
    return figures;
  },
};

/** Until the last `sbatch` of a shell loop has answered. */
async function loopPerSecond(cluster: SlurmCluster, count: number): Promise<number> {
  const script = "#!/bin/sh\\ntrue\\n";
  const line = `i=0; while [ $i -lt ${count} ]; do printf '${script}' | sbatch -p closed -o /dev/null >/dev/null || exit 1; i=$((i+1)); done`;
  const startedAt = performance.now();
  const child = spawn("/bin/sh", ["-c", line], { env: { ...cluster.environment }, cwd: "/", stdio: "inherit" });
  const { promise, resolve } = Promise.withResolvers<number | null>();
  child.once("exit", resolve);
  if ((await promise) !== 0) throw new Error("the loop of sbatch failed");
  const rate = (count * 1000) / (performance.now() - startedAt);
  await emptied(cluster);
  return rate;
}

/** Jobs in a second, each the value of a round. */
async function submissions(
  cluster: SlurmCluster,
  { rounds, jobs, say }: { readonly rounds: number; readonly jobs: number } & Pick<BenchOptions, "say">,
): Promise<Readonly<Record<"loop" | "single" | "arrays", readonly number[]>>> {
  await using one = await closedSite(cluster, { arrays: false }, jobs);
  await using many = await closedSite(cluster, { arrays: true }, jobs);
  for (const site of [one, many]) await submittedPerSecond(cluster, site, jobs);
  const rates = { loop: [] as number[], single: [] as number[], arrays: [] as number[] };
  for (let round = 0; round < rounds; round++) {
    rates.loop.push(await loopPerSecond(cluster, jobs));
    rates.single.push(await submittedPerSecond(cluster, one, jobs));
    rates.arrays.push(await submittedPerSecond(cluster, many, jobs));
    const [loop, single, arrays] = Object.values(rates).map((values) => values.at(-1)?.toFixed(1) ?? "");
    say(`round ${round + 1}: loop ${loop}/s, one by one ${single}/s, arrays ${arrays}/s`);
  }
  return rates;
}

/** Its jobs go into the partition that is down. */
async function closedSite(
  cluster: SlurmCluster,
  target: { readonly arrays: boolean },
  jobs: number,
): Promise<TestSite> {
  const site = await slurmSite(cluster, { ...target, poll: "2s" }, jobs + 10);
  await site.replaceInSiteFile("partition: main", "partition: closed");
  const { status } = await new Control(site).post("/v1/reload");
  if (status !== 200) throw new Error(`the site file was not loaded again: ${status}`);
  return site;
}

/** The queue itself is asked only after the controller has taken nothing for so long: its answers take time from those who submit. */
const calmMs = 500;

async function submittedPerSecond(cluster: SlurmCluster, site: TestSite, count: number): Promise<number> {
  using log = new SubmissionLog(cluster);
  const startedAt = performance.now();
  await site.client.bulk(Array.from({ length: count }, () => ({ workflow: "noop", config: {} })));
  await waitFor(async () => performance.now() - log.lastAt > calmMs && (await queued(cluster)) >= count, {
    what: `${count} jobs in the queue`,
    timeoutMs: 600_000,
    intervalMs: 250,
  });
  const rate = (count * 1000) / (log.lastAt - startedAt);
  await emptied(cluster);
  await waitFor(async () => (await site.client.jobPage({ active: true, limit: 1 })).total === 0, {
    what: "the end of all jobs",
    timeoutMs: 600_000,
    intervalMs: 250,
  });
  return rate;
}

async function endsSeen(cluster: SlurmCluster, count: number, say: (line: string) => void): Promise<number[]> {
  await using site = await slurmSite(cluster, {}, 4);
  const waits: number[] = [];
  for (let n = 0; n < count; n++) {
    const { id } = await site.submit("ends", { n });
    await waitFor(async () => (await site.view(id)).ended_at !== null, {
      what: `the end of job ${n}`,
      intervalMs: 20,
      timeoutMs: 120_000,
    });
    const doneAt = Date.now();
    waits.push(doneAt - Number(await readFile(join(site.root, `ended-${n}`), "utf8")) / 1e6);
    if ((n + 1) % 20 === 0) say(`${n + 1} ends`);
  }
  return waits;
}

async function slurmSite(
  cluster: SlurmCluster,
  target: Readonly<Record<string, unknown>>,
  slots: number,
): Promise<TestSite> {
  const { PATH, ...environment } = cluster.environment;
  return await startRelease({
    apps: { ends },
    slots,
    agent: { max_jobs: slots + 10 },
    host: { path: PATH, environment },
    target: { launcher: "batch", scheduler: "slurm", partition: "main", ...target },
  });
}

/** When the controller last said that it took a job: who asks the queue often enough to see it takes a part of the machine from those who submit. */
class SubmissionLog implements Disposable {
  /** Monotonic. */
  lastAt = Number.NaN;
  readonly #file: number;
  readonly #timer: NodeJS.Timeout;
  readonly #bytes = Buffer.alloc(65_536);

  constructor(cluster: SlurmCluster) {
    this.#file = openSync(join(cluster.directory, "log", "slurmctld"), "r");
    let at = fstatSync(this.#file).size;
    this.#timer = setInterval(() => {
      const length = readSync(this.#file, this.#bytes, 0, this.#bytes.length, at);
      at += length;
      if (this.#bytes.includes("_slurm_rpc_submit_batch_job: JobId=") && length > 0) this.lastAt = performance.now();
      this.#bytes.fill(0, 0, length);
    }, 10);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    closeSync(this.#file);
  }
}

async function queued(cluster: SlurmCluster): Promise<number> {
  const text = await cluster.run("squeue", "-h", "-r", "-p", "closed", "-o", "%i");
  return text.trim() === "" ? 0 : text.trim().split("\n").length;
}

async function emptied(cluster: SlurmCluster): Promise<void> {
  await cluster.run("scancel", "-p", "closed");
  await waitFor(async () => (await queued(cluster)) === 0, { what: "an empty queue", timeoutMs: 120_000 });
}
