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
  wide: {
    command: ["/bin/sh", "-c", 'echo "$SLURMD_NODENAME" >"rank-$SLURM_PROCID"'],
    mpi: { starter: "srun", options: ["--mpi=none"] },
    outputs: { second: { from: "rank-1", to: "$DELIVERED/{{token}}" } },
    resources: { ...resources, nodes: 2 },
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
  /** One for all cases but those that need other settings: a start costs as much as most of them. */
  let site: TestSite;
  const ids: string[] = [];
  beforeAll(async () => {
    cluster = await SlurmCluster.start();
    site = await slurmSite(cluster);
    await site.startAgent();
  }, 120_000);
  afterAll(async () => {
    await site[Symbol.asyncDispose]();
    await cluster[Symbol.asyncDispose]();
  }, 60_000);

  async function submit(app: keyof typeof apps): Promise<string> {
    const { id } = await site.submit(app);
    ids.push(id);
    return id;
  }

  /** Without work they end by themselves. */
  async function untilIdle(): Promise<void> {
    const over = async (): Promise<boolean> =>
      (await allocations(cluster, site)).every((line) => !/RUNNING|PENDING|COMPLETING/.test(line));
    await waitFor(over, { what: "the end of the allocations", timeoutMs: 60_000 });
  }

  it("end as they should, and the allocations when nothing is to be done", { timeout: 240_000 }, async () => {
    const all = [];
    for (const app of ["good", "retried", "slow", "long", "good", "wide"] as const) all.push(await submit(app));
    const [good = "", retried = "", slow = "", long = "", ...others] = all;
    await site.waitFor(long, (job) => job.state === "RUNNING", "RUNNING", 60_000);
    await site.client.cancel(long);
    for (const id of [good, ...others])
      expect(await site.ended(id, 60_000)).toMatchObject({ status: "FINISHED", attempt: 1 });
    expect(await site.ended(retried, 60_000)).toMatchObject({ status: "FINISHED", attempt: 2 });
    expect(await site.ended(slow, 60_000)).toMatchObject({ status: "FAILED", end: { cause: "timeout" } });
    expect(await site.ended(long, 60_000)).toMatchObject({ status: "CANCELLED" });
    await untilIdle();
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
      if (!point.endsWith("order")) await untilIdle(); // so that another allocation is asked for
      await site.arm(point, "kill");
      const mine = [await submit("good"), await submit("good")];
      await waitFor(() => site.reached(point), { what: point, timeoutMs: 60_000 });
      await site.agent?.finished;
      await site.startAgent();
      for (const id of mine) expect(await site.ended(id, 90_000)).toMatchObject({ status: "FINISHED", attempt: 1 });
      const names = (await allocations(cluster, site)).map((line) => line.split(" ")[2]);
      expect(names).toHaveLength(new Set(names).size);
    },
  );

  it("E11: that lose their allocation are begun again in another, which is no try", { timeout: 240_000 }, async () => {
    const before = (await allocations(cluster, site)).length;
    const id = await submit("lost");
    await site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING", 60_000);
    const [running = ""] = (await allocations(cluster, site)).filter((line) => line.includes("RUNNING"));
    await cluster.run("scancel", running.split(" ")[0] ?? "");
    expect(await site.ended(id, 120_000)).toMatchObject({ status: "FINISHED", attempt: 2 });
    await untilIdle();
    expect((await allocations(cluster, site)).length).toBeGreaterThan(before);
    expect(await site.imbalances(ids)).toEqual([]);
  });
});

async function slurmSite(cluster: SlurmCluster): Promise<TestSite> {
  const { PATH, ...environment } = cluster.environment;
  const times = {
    walltime: "10m",
    margin: "5s",
    start: "5s",
    idle: "1s",
    poll: "1s",
    settle: "2s",
    record_patience: "1s",
  };
  return await TestSite.start({
    apps,
    armable: true,
    slots: 20,
    host: { path: PATH, environment },
    target: { launcher: "pilot", scheduler: "slurm", node_cores: 4, nodes: 2, ...times },
  });
}

/** What the cluster says of all allocations that there were: id, state, name, directory. */
async function allocations(cluster: SlurmCluster, site: TestSite): Promise<readonly string[]> {
  const all = await cluster.run("squeue", "-h", "-t", "all", "-o", "%i %T %j %Z");
  return all.split("\n").filter((line) => line.includes(site.root));
}
