/** Whole installations that pack attempts into allocations of a real Slurm. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { describeWithEngine } from "../helpers/engines/index.ts";
import { SlurmCluster } from "../helpers/engines/slurm-cluster.ts";
import { TestSite, traced } from "../helpers/site.ts";
import { waitFor } from "../helpers/wait.ts";

const resources = { walltime: "2m" };
const apps = {
  good: {
    command: traced("echo $SLURM_JOB_ID > out.txt; exit 0"),
    outputs: { out: { from: "out.txt", to: "$DELIVERED/{{token}}" } },
    resources,
  },
  retried: {
    command: traced('[ "$SITEAGENT_ATTEMPT" -ge 2 ] || exit 9'),
    retry: { attempts: 2, on: ["exit:9"] },
    resources,
  },
  slow: { command: traced("sleep 30"), resources: { walltime: "1s" } },
  long: { command: traced("sleep 100"), resources },
  lost: { command: traced('[ "$SITEAGENT_ATTEMPT" -ge 2 ] || sleep 100'), resources },
};

describeWithEngine("slurm", "jobs packed into allocations of a real Slurm", () => {
  let cluster: SlurmCluster;
  beforeAll(async () => {
    cluster = await SlurmCluster.start();
  }, 120_000);
  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
  }, 60_000);

  async function slurmSite(more: Readonly<Record<string, unknown>> = {}): Promise<TestSite> {
    const { PATH, ...environment } = cluster.environment;
    const times = {
      walltime: "10m",
      margin: "5s",
      start: "5s",
      idle: "3s",
      poll: "1s",
      settle: "3s",
      record_patience: "2s",
    };
    return await TestSite.start({
      apps,
      armable: true,
      slots: 20,
      host: { path: PATH, environment },
      target: { launcher: "pilot", scheduler: "slurm", node_cores: 4, ...times, ...more },
    });
  }

  /** Ids of all allocations that there were, and what the cluster says of each. */
  async function allocations(site: TestSite): Promise<readonly string[]> {
    const all = await cluster.run("squeue", "-h", "-t", "all", "-o", "%i %T %j %Z");
    return all.split("\n").filter((line) => line.includes(site.root));
  }

  /** Without work they end by themselves. */
  async function untilIdle(site: TestSite): Promise<void> {
    const over = async (): Promise<boolean> =>
      (await allocations(site)).every((line) => !/RUNNING|PENDING|COMPLETING/.test(line));
    await waitFor(over, { what: "the end of the allocations", timeoutMs: 60_000 });
  }

  it("end as they should, and the allocations when nothing is to be done", { timeout: 240_000 }, async () => {
    await using site = await slurmSite();
    await site.startAgent();
    const ids = [];
    for (const app of ["good", "retried", "slow", "long", "good", "good", "good"])
      ids.push((await site.submit(app)).id);
    const [good = "", retried = "", slow = "", long = "", ...others] = ids;
    await site.waitFor(long, (job) => job.state === "RUNNING", "RUNNING", 60_000);
    await site.client.cancel(long);
    for (const id of [good, ...others])
      expect(await site.ended(id, 60_000)).toMatchObject({ status: "FINISHED", attempt: 1 });
    expect(await site.ended(retried, 60_000)).toMatchObject({ status: "FINISHED", attempt: 2 });
    expect(await site.ended(slow, 60_000)).toMatchObject({ status: "FAILED", end: { cause: "timeout" } });
    expect(await site.ended(long, 60_000)).toMatchObject({ status: "CANCELLED" });
    await untilIdle(site);
    expect(await site.imbalances(ids)).toEqual([]);
  });

  it.each([
    "pilot.before-intent",
    "pilot.after-intent",
    "pilot.after-submit",
    "pilot.before-order",
    "pilot.after-order",
  ] as const)(
    "E1: an agent that is killed at %s asks for no allocation twice, and no attempt is lost or begun twice",
    { timeout: 240_000 },
    async (point) => {
      await using site = await slurmSite();
      await site.startAgent();
      await site.arm(point, "kill");
      const ids = [(await site.submit("good")).id, (await site.submit("good")).id];
      await waitFor(() => site.reached(point), { what: point, timeoutMs: 60_000 });
      await site.agent?.finished;
      await site.startAgent();
      for (const id of ids) expect(await site.ended(id, 90_000)).toMatchObject({ status: "FINISHED", attempt: 1 });
      await untilIdle(site);
      const names = (await allocations(site)).map((line) => line.split(" ")[2]);
      expect(names).toHaveLength(new Set(names).size);
      expect(await site.imbalances(ids)).toEqual([]);
    },
  );

  it("E11: that lose their allocation are begun again in another, which is no try", { timeout: 240_000 }, async () => {
    await using site = await slurmSite();
    await site.startAgent();
    const { id } = await site.submit("lost");
    await site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING", 60_000);
    const [first = ""] = await allocations(site);
    await cluster.run("scancel", first.split(" ")[0] ?? "");
    expect(await site.ended(id, 120_000)).toMatchObject({ status: "FINISHED", attempt: 2 });
    await untilIdle(site);
    expect((await allocations(site)).length).toBeGreaterThan(1);
    expect(await site.imbalances([id])).toEqual([]);
  });

  it("run on all nodes of an allocation, by srun", { timeout: 240_000 }, async () => {
    await using site = await slurmSite({ nodes: 2 });
    await site.startAgent();
    const ids = [];
    for (let count = 0; count < 8; count++) ids.push((await site.submit("long")).id);
    for (const id of ids) await site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING", 60_000);
    for (const id of ids) await site.client.cancel(id);
    for (const id of ids) expect(await site.ended(id, 60_000)).toMatchObject({ status: "CANCELLED" });
    await untilIdle(site);
    expect(await site.imbalances(ids)).toEqual([]);
  });
});
