/** A centre as it is: the agent outside, a login node behind sshd, and a Slurm of several machines (containers). */
import { readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { describeWithEngine } from "../helpers/engines/index.ts";
import { SlurmMachines } from "../helpers/engines/slurm-machines.ts";
import { TestSite, traced } from "../helpers/site.ts";
import { waitFor } from "../helpers/wait.ts";

const everywhere = { nodes: 3, walltime: "5m" };
const wide = {
  command: ["/bin/sh", "-c", 'cat /proc/sys/kernel/hostname >"rank-$SLURM_PROCID"'],
  mpi: { starter: "srun", options: ["--mpi=none"] },
  outputs: Object.fromEntries(
    [0, 1, 2].map((rank) => [`rank${rank}`, { from: `rank-${rank}`, to: `$DELIVERED/{{token}}-${rank}` }]),
  ),
  resources: everywhere,
};
/** Ends when the test says so. */
const waits = { command: traced("until [ -e ../../../go ]; do sleep 0.2; done"), resources: { walltime: "5m" } };
/** Needs all machines, whichever fails; only its first attempt goes on and on. */
const lost = {
  command: traced('[ "$SITEAGENT_ATTEMPT" -ge 2 ] || sleep 600'),
  mpi: { starter: "srun", options: ["--mpi=none", "--ntasks=1", "--nodes=1"] },
  resources: everywhere,
};
const apps = {
  wide,
  waits,
  lost: { ...lost, retry: { attempts: 2, on: ["node"] } },
  "packed-wide": { ...wide, target: "packed" },
  "packed-waits": { ...waits, target: "packed" },
  "packed-lost": { ...lost, target: "packed" },
};
const times = { poll: "1s", settle: "2s", record_patience: "2s" };

describeWithEngine(["container", "slurm", "sshd"], "a Slurm of several machines, reached by SSH", () => {
  let slurm: SlurmMachines;
  let site: TestSite;
  const ids: string[] = [];
  beforeAll(async () => {
    slurm = await SlurmMachines.start();
    site = await TestSite.start({
      parent: slurm.directory.path,
      apps,
      host: slurm.host,
      target: { launcher: "batch", scheduler: "slurm", slots: 20, ...times },
      targets: {
        packed: {
          launcher: "pilot",
          scheduler: "slurm",
          slots: 20,
          nodes: 3,
          node_cores: 4,
          walltime: "20m",
          margin: "5s",
          start: "5s",
          idle: "2s",
          ...times,
        },
      },
    });
    await site.startAgent();
  }, 240_000);
  afterAll(async () => {
    await site?.[Symbol.asyncDispose]();
    await slurm?.[Symbol.asyncDispose]();
  }, 120_000);

  async function submit(app: keyof typeof apps): Promise<string> {
    const { id } = await site.submit(app);
    ids.push(id);
    return id;
  }

  /** An allocation has its machines for itself until it ends. */
  async function untilFree(): Promise<void> {
    const over = async (): Promise<boolean> => (await slurm.run("squeue", "-h")).trim() === "";
    await waitFor(over, { what: "an empty queue", timeoutMs: 60_000, intervalMs: 100 });
  }

  it.each(["wide", "packed-wide"] as const)("%s: runs on all machines at once", { timeout: 240_000 }, async (app) => {
    const before = (await readdir(site.delivered)).length;
    expect(await site.ended(await submit(app), 120_000)).toMatchObject({ status: "FINISHED", attempt: 1 });
    const files = (await readdir(site.delivered)).length - before;
    expect(files).toBe(3);
    await untilFree();
  });

  it.each(["waits", "packed-waits"] as const)(
    "%s: goes on while the login node starts anew, and so does what was asked for meanwhile",
    { timeout: 240_000 },
    async (app) => {
      const running = await submit(app);
      await site.waitFor(running, (job) => job.state === "RUNNING", "RUNNING", 90_000);
      await slurm.kill("login");
      const asked = await submit(app);
      await writeFile(join(site.root, "go"), "");
      await slurm.powerOn("login");
      for (const id of [running, asked])
        expect(await site.ended(id, 120_000)).toMatchObject({ status: "FINISHED", attempt: 1 });
      await rm(join(site.root, "go"));
      await untilFree();
    },
  );

  it.each(["lost", "packed-lost"] as const)(
    "E11: %s: is begun again when a machine fails",
    { timeout: 240_000 },
    async (app) => {
      const id = await submit(app);
      await site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING", 90_000);
      await slurm.kill("n2");
      await slurm.run("scontrol", "update", "NodeName=n2", "State=DOWN", "Reason=power");
      await slurm.powerOn("n2");
      expect(await site.ended(id, 120_000)).toMatchObject({ status: "FINISHED", attempt: 2 });
      await untilFree();
      expect(await site.imbalances(ids)).toEqual([]);
    },
  );
});
