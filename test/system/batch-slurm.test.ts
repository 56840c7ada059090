/** Whole installations on a real Slurm: what the stand-in of other tests may do otherwise. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { describeWithEngine } from "../helpers/engines/index.ts";
import { SlurmCluster } from "../helpers/engines/slurm-cluster.ts";
import { TestSite, traced } from "../helpers/site.ts";
import { waitFor } from "../helpers/wait.ts";

const apps = {
  good: {
    command: traced("echo said > out.txt; exit 0"),
    outputs: { out: { from: "out.txt", to: "$DELIVERED/{{token}}" } },
  },
  retried: { command: traced('[ "$SITEAGENT_ATTEMPT" -ge 2 ] || exit 9'), retry: { attempts: 2, on: ["exit:9"] } },
  slow: { command: traced("sleep 30"), resources: { walltime: "1s" } },
  warned: {
    command: traced("trap 'exit 0' USR1; while :; do sleep 0.1 || :; done"),
    resources: { walltime: "2m" },
    warning: { before: "115s" },
  },
  long: { command: traced("sleep 300") },
  wrong: { command: traced("exit 0"), target: "closed" },
  // Not a process of its own: the shell that notes its start is killed with the rest.
  greedy: {
    command: traced(`perl -e '$x = "x" x (200 * 1024 * 1024); sleep 60'; exit 0`),
    resources: { memory: "50MiB" },
  },
};

describeWithEngine("slurm", "jobs on a real Slurm", () => {
  let cluster: SlurmCluster;
  beforeAll(async () => {
    cluster = await SlurmCluster.start();
  }, 120_000);
  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
  }, 60_000);

  async function slurmSite(): Promise<TestSite> {
    const { PATH, ...environment } = cluster.environment;
    const { greedy: _, wrong: __, ...some } = apps;
    return await TestSite.start({
      apps: some,
      armable: true,
      slots: 8,
      host: { path: PATH, environment },
      target: { launcher: "batch", scheduler: "slurm", poll: "1s", settle: "3s" },
    });
  }

  it(
    "end as they should: success with outputs, retry, warning and time limit, cancel",
    { timeout: 240_000 },
    async () => {
      await using site = await slurmSite();
      await site.startAgent();
      const [good, retried, slow, warned, long] = await Promise.all(
        ["good", "retried", "slow", "warned", "long"].map((app) => site.submit(app)),
      );
      if (!good || !retried || !slow || !warned || !long) throw new Error("no jobs");
      await site.waitFor(long.id, (job) => job.state === "RUNNING", "RUNNING", 60_000);
      await site.client.cancel(long.id);
      expect(await site.ended(good.id, 60_000)).toMatchObject({ status: "FINISHED", attempt: 1 });
      expect(await site.ended(retried.id, 60_000)).toMatchObject({ status: "FINISHED", attempt: 2 });
      expect(await site.ended(slow.id, 60_000)).toMatchObject({ status: "FAILED", end: { cause: "timeout" } });
      expect(await site.ended(warned.id, 60_000)).toMatchObject({ status: "FINISHED", attempt: 1 });
      expect(await site.ended(long.id, 60_000)).toMatchObject({ status: "CANCELLED" });
      expect(await site.imbalances([good, retried, slow, warned, long].map(({ id }) => id))).toEqual([]);
    },
  );

  it(
    "E1: an agent that is killed between the submission and its record adopts the job",
    { timeout: 240_000 },
    async () => {
      await using site = await slurmSite();
      await site.startAgent();
      await site.arm("batch.after-submit", "kill");
      const { id } = await site.submit("good");
      await waitFor(() => site.reached("batch.after-submit"), { what: "the submission", timeoutMs: 60_000 });
      await site.agent?.finished;
      await site.startAgent();
      expect(await site.ended(id, 90_000)).toMatchObject({ status: "FINISHED", attempt: 1 });
      expect((await site.starts()).size).toBe(1);
      expect(await site.imbalances([id])).toEqual([]);
    },
  );

  it("E14: a cancel behind our back is a failure that says who did it", { timeout: 240_000 }, async () => {
    await using site = await slurmSite();
    await site.startAgent();
    const { id } = await site.submit("long");
    await site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING", 60_000);
    await cluster.run("scancel", "--state=RUNNING", "--user", String(process.getuid?.() ?? 0));
    const job = await site.ended(id, 60_000);
    expect(job).toMatchObject({ status: "FAILED", end: { cause: "cancelled" } });
    expect(JSON.stringify(job)).toContain("outside of siteagent");
  });
});

describeWithEngine(["slurm", "slurm-cgroup"], "memory on a real Slurm that limits it", () => {
  it(
    "E11: a job that took more memory than it asked for ends as oom, though its script went on",
    { timeout: 240_000 },
    async () => {
      await using cluster = await SlurmCluster.start({ cgroup: true });
      const { PATH, ...environment } = cluster.environment;
      await using site = await TestSite.start({
        apps: { greedy: apps.greedy },
        host: { path: PATH, environment },
        target: { launcher: "batch", scheduler: "slurm", poll: "1s" },
      });
      await site.startAgent();
      const { id } = await site.submit("greedy");
      expect(await site.ended(id, 90_000)).toMatchObject({ status: "FAILED", end: { cause: "oom" } });
    },
  );
});
