/** Whole installations whose scheduler is at the other end of a connection by SSH. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { describeWithEngine } from "../helpers/engines/index.ts";
import { SlurmCluster } from "../helpers/engines/slurm-cluster.ts";
import { SshServer } from "../helpers/engines/ssh-server.ts";
import { FakePbs } from "../helpers/fake-pbs/index.ts";
import { TestSite, traced } from "../helpers/site.ts";
import { waitFor } from "../helpers/wait.ts";
import { Control } from "../integration/agent/control.ts";

const apps = {
  good: { command: traced("echo said > out.txt"), outputs: { out: { from: "out.txt", to: "$DELIVERED/{{token}}" } } },
  // Commands run where the target's host is, modules beside the agent: each looks at its parent process.
  hooked: {
    command: traced("exit 0"),
    hooks: {
      preprocess: { command: ["/bin/sh", "-c", "grep -q IFS= /proc/$PPID/cmdline"] },
      postprocess: { module: "hooks.mjs" },
    },
  },
  long: { command: traced("sleep 300") },
};

interface Place {
  readonly path: string | undefined;
  readonly environment?: Readonly<Record<string, string>>;
  readonly scheduler: string;
}

function placeOf(pbs: FakePbs): Place {
  return { path: pbs.environment["PATH"], scheduler: "pbs" };
}

async function remoteSite({ scheduler, ...place }: Place, server: SshServer): Promise<TestSite> {
  const site = await TestSite.start({
    apps,
    armable: true,
    host: {
      ...place,
      ssh: {
        host: "127.0.0.1",
        port: server.port,
        key: { file: server.userKey },
        known_hosts: server.knownHosts,
        config: false,
        keepalive: "1s",
      },
    },
    target: { launcher: "batch", scheduler, poll: "1s", settle: "2s", record_patience: "10s", arrays: false },
  });
  await writeFile(
    join(site.root, "hooks.mjs"),
    `import { readFileSync } from "node:fs";
     export function postprocess() {
       const parent = readFileSync("/proc/" + process.ppid + "/cmdline", "utf8");
       return parent.includes("IFS=") ? { outcome: "fail", reason: "it runs at the other end" } : {};
     }`,
  );
  return site;
}

describeWithEngine("sshd", "jobs of a scheduler that is reached by SSH", () => {
  it("end as they should, over one connection", { timeout: 240_000 }, async () => {
    await using pbs = await FakePbs.start();
    await using server = await SshServer.start();
    await using site = await remoteSite(placeOf(pbs), server);
    await site.startAgent();
    const jobs = await Promise.all(["good", "hooked", "long"].map((app) => site.submit(app)));
    const [good, hooked, long] = jobs;
    if (!good || !hooked || !long) throw new Error("no jobs");
    await site.waitFor(long.id, (job) => job.state === "RUNNING", "RUNNING", 60_000);
    await site.client.cancel(long.id);
    expect(await site.ended(good.id, 60_000)).toMatchObject({ status: "FINISHED", attempt: 1 });
    expect(await site.ended(hooked.id, 60_000)).toMatchObject({ status: "FINISHED", attempt: 1 });
    expect(await site.ended(long.id, 60_000)).toMatchObject({ status: "CANCELLED" });
    expect(server.log.match(/Accepted publickey/g)).toHaveLength(1);
    expect(await site.imbalances(jobs.map(({ id }) => id))).toEqual([]);
  });

  it("F1: wait while the server's key is not the known one, and go on when it is", { timeout: 240_000 }, async () => {
    await using pbs = await FakePbs.start();
    await using server = await SshServer.start();
    const right = await server.knownLine();
    await using other = await SshServer.start();
    await server.know(await other.knownLine("ed25519", server.name));
    await using site = await remoteSite(placeOf(pbs), server);
    await site.startAgent();
    const { id } = await site.submit("good");
    const control = new Control(site);
    const { problems } = await control.until("the problem", (status) => status.problems.length > 0, 60_000);
    expect(problems.map(({ what }) => what).join("\n")).toContain("CHANGED");
    expect(pbs.jobs()).toEqual([]);
    await server.know(right);
    expect(await site.ended(id, 120_000)).toMatchObject({ status: "FINISHED", attempt: 1 });
    expect(await site.imbalances([id])).toEqual([]);
  });
});

describeWithEngine(["sshd", "slurm"], "jobs of a real Slurm that is reached by SSH", () => {
  it(
    "E1: are neither lost nor submitted twice when connections break at submissions",
    { timeout: 300_000 },
    async () => {
      await using cluster = await SlurmCluster.start();
      await using server = await SshServer.start();
      const { PATH = "", ...environment } = cluster.environment;
      await using site = await remoteSite({ path: PATH, environment, scheduler: "slurm" }, server);
      await site.startAgent();
      const names = async (): Promise<readonly string[]> =>
        (await cluster.run("squeue", "-h", "-t", "all", "-o", "%j"))
          .trim()
          .split("\n")
          .filter((name) => name !== "");
      const jobs = await Promise.all(Array.from({ length: 6 }, () => site.submit("good")));
      for (const accepted of [1, 2, 3]) {
        const what = `${accepted} submissions`;
        await waitFor(async () => (await names()).length >= accepted, { what, timeoutMs: 120_000, intervalMs: 5 });
        server.cutConnections(); // its answer is still to come, or has just come
      }
      for (const { id } of jobs)
        expect(await site.ended(id, 120_000)).toMatchObject({ status: "FINISHED", attempt: 1 });
      const all = await names();
      expect(new Set(all).size).toBe(all.length);
      expect((await site.starts()).size).toBe(jobs.length);
      expect(server.log.match(/Accepted publickey/g)?.length).toBeGreaterThan(2);
      expect(await site.imbalances(jobs.map(({ id }) => id))).toEqual([]);
    },
  );
});
