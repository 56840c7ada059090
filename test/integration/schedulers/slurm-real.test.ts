/** What a real Slurm without accounting can be made to show; the contract is proven by test/conformance/slurm.test.ts. */
import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ScheduledJob, Scheduler, SubmitRequest } from "../../../src/schedulers/types.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import type { SlurmCluster } from "../../helpers/engines/slurm-cluster.ts";
import { isAlive } from "../../helpers/processes.ts";
import { waitFor } from "../../helpers/wait.ts";
import { context } from "../launchers/attempts.ts";
import {
  ended,
  requestFor,
  slurmOf,
  small,
  startCluster,
  statusOf,
  submitted,
  until,
  workdirOf,
} from "./slurm-place.ts";

let cluster: SlurmCluster;
let slurm: Scheduler;
/** Runs into its time limit while the other tests run: Slurm looks every 30 s. */
let late: ScheduledJob;

describeWithEngine("slurm", "Slurm", () => {
  beforeAll(async () => {
    const settings = { PreemptType: "preempt/partition_prio", PreemptMode: "REQUEUE" };
    cluster = await startCluster({ nodes: 3, settings });
    slurm = slurmOf(cluster);
    const placement = { native: [], queue: "urgent" };
    late = await submitted(slurm, request("trap '' TERM; sleep 600 & wait; sleep 600", { walltimeS: 60, placement }));
    await until(slurm, late, "running");
    const end = new Date(Date.now() + 1_000).toISOString().slice(0, 19);
    await cluster.run("scontrol", "update", `JobId=${late.id}`, `EndTime=${localTime(end)}`);
  });
  afterAll(() => cluster[Symbol.asyncDispose]());

  describe("a request", requestTests);
  describe("a job", jobTests);
  describe("nodes", nodeTests);

  it("E11: a job that ran into its time limit timed out, whatever code it ended with", async () => {
    const verdict = await ended(slurm, late);
    expect(verdict).toMatchObject({ kind: "timeout", raw: expect.stringContaining("TIMEOUT") });
    expect(verdict.exitCode).toBeUndefined();
  });
});

function request(body: string, more: Partial<SubmitRequest> = {}): SubmitRequest {
  return requestFor(workdirOf(cluster), body, more);
}

/** Slurm's commands read times in the time zone of their environment, which is the machine's for an administrator. */
function localTime(utc: string): string {
  const date = new Date(`${utc}Z`);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

function requestTests(): void {
  it("gets what it asks for", async () => {
    const resources = {
      nodes: 2,
      ranks_per_node: 2,
      threads_per_rank: 1,
      cores: 6,
      gpus: 0,
      memory: 100 * 2 ** 20 + 1,
    };
    const body = 'echo "$SLURM_JOB_NUM_NODES $SLURM_NTASKS $SLURM_CPUS_PER_TASK $SLURM_MEM_PER_NODE"; sleep 600';
    const placement = {
      queue: "main",
      constraint: "blue",
      licenses: "lic:1",
      native: ["--nice=7", "--distribution", "cyclic"],
    };
    const asked = request(body, { resources, walltimeS: 90, placement });
    const job = await submitted(slurm, asked);
    await until(slurm, job, "running");
    const log = await waitFor(() => readFile(asked.log, "utf8"), { what: "the log", timeoutMs: 30_000 });
    expect(log.trim()).toBe("2 4 3 101");
    const shown = await cluster.run("scontrol", "show", "job", job.id);
    const words = ["TimeLimit=00:02:00", "Requeue=0", "Features=blue", "Licenses=lic:1", "Nice=7", "Partition=main"];
    for (const word of words) expect(shown).toContain(word);
    expect(shown).toContain(`JobName=${job.token}`);
    expect(shown).toContain(`Comment=${job.token}`);
    await slurm.cancel([job], context);
    await ended(slurm, job);
  });

  it("keeps every character of directory and log", async () => {
    const odd = join(workdirOf(cluster), "a b'c\"d#e$f`g&h;i|j*k?l(m)n<o>p!q~r%j%%s^t{u}v[w]x,y=z@ü€");
    await mkdir(odd);
    const asked = requestFor(odd, 'printf %s "$PWD"; : >"$PWD/was here"');
    expect(await ended(slurm, await submitted(slurm, asked))).toMatchObject({ kind: "completed" });
    expect(await waitFor(() => readFile(asked.log, "utf8"), { what: "the log" })).toBe(odd);
    expect((await stat(join(odd, "was here"))).isFile()).toBe(true);
  });

  it.each([
    [{ placement: { ...small.placement, queue: "short" }, walltimeS: 7_200 }, /time limit/],
    [{ resources: { ...small.resources, memory: 2 ** 40 } }, /configuration is not available/],
    [{ resources: { ...small.resources, nodes: 4 } }, /Node count/],
    [{ resources: { ...small.resources, gpus: 1 } }, /gres|configuration/i],
    [{ placement: { ...small.placement, constraint: "nonesuch" } }, /feature/],
    [{ placement: { ...small.placement, reservation: "nonesuch" } }, /reservation/],
    [{ placement: { ...small.placement, licenses: "nonesuch:1" } }, /license/],
    [{ placement: { ...small.placement, native: ["--nonesuch"] } }, /--nonesuch/],
    [{ placement: { ...small.placement, native: ["--mem-per-cpu=1"] } }, /mutually exclusive|mem/],
    [{ tasks: 2_000 }, /array/],
    [{ body: "echo\r\n" }, /DOS/],
  ] as const)("E16: %j is rejected in Slurm's words", async (more, words) => {
    const [result] = await slurm.submit([request("exit 0", more)], context);
    expect(result).toMatchObject({ state: "rejected", reason: expect.stringMatching(words) });
  });

  it("waits where Slurm keeps a job although it cannot run now, and says why", async () => {
    const job = await submitted(slurm, request("exit 0", { placement: { ...small.placement, queue: "closed" } }));
    const status = await until(slurm, job, "queued", ({ reason }) => reason !== undefined);
    expect(status).toMatchObject({ reason: "PartitionDown" });
    expect(status.stuck ?? false).toBe(false);
    await slurm.cancel([job], context);
    expect(await ended(slurm, job)).toMatchObject({ kind: "cancelled" });
  });
}

function jobTests(): void {
  it("E14: is cancelled by hand", async () => {
    const job = await submitted(slurm, request("sleep 600"));
    await until(slurm, job, "running");
    await cluster.run("scancel", job.id);
    expect(await ended(slurm, job)).toMatchObject({ kind: "cancelled", raw: expect.stringContaining("CANCELLED") });
  });

  it("E14: is the rest of an array that is cancelled by hand, of which no task has a row of its own", async () => {
    const placement = { ...small.placement, queue: "closed" };
    const job = await submitted(slurm, request("exit 0", { placement, tasks: 3 }));
    const tasks = [0, 1, 2].map((task) => ({ ...job, task }));
    for (const task of tasks) await until(slurm, task, "queued");
    await cluster.run("scancel", "-p", "closed");
    for (const task of tasks) expect(await ended(slurm, task)).toMatchObject({ kind: "cancelled", neverBegan: true });
  });

  it("E15: is held by an administrator, says so, and goes on", async () => {
    const job = await submitted(slurm, request("exit 0", { placement: { native: ["--begin=now+1hour"] } }));
    await cluster.run("scontrol", "hold", job.id);
    const held = await until(slurm, job, "queued", ({ stuck }) => stuck === true);
    expect(held.reason).toBe("JobHeldAdmin");
    await cluster.run("scontrol", "release", job.id);
    await cluster.run("scontrol", "update", `JobId=${job.id}`, "StartTime=now");
    expect(await ended(slurm, job)).toMatchObject({ kind: "completed" });
  });

  it("E12: is not requeued unless an administrator insists; then it is the same job, begun again, and says so", async () => {
    const asked = request('echo "run $SITEAGENT_RESTARTS"; test "$SITEAGENT_RESTARTS" = 1 || sleep 600');
    const job = await submitted(slurm, asked);
    await until(slurm, job, "running");
    await waitFor(async () => (await readFile(asked.log, "utf8")).includes("run 0\n"), { what: "the first run" });
    await expect(cluster.run("scontrol", "requeue", job.id)).rejects.toThrow("disabled");
    await cluster.run("scontrol", "update", `JobId=${job.id}`, "Requeue=1");
    await cluster.run("scontrol", "requeue", job.id);
    await until(slurm, job, "queued", ({ restarts }) => restarts === 1);
    // Not within the second of its end, for which its credential is revoked.
    await cluster.run("scontrol", "update", `JobId=${job.id}`, "StartTime=now+3seconds");
    expect(await ended(slurm, job)).toMatchObject({ kind: "completed" });
    expect(await readFile(asked.log, "utf8")).toMatch(/^run 0\n[^]*run 1\n$/);
  });

  it("is suspended and goes on", async () => {
    const job = await submitted(slurm, request("sleep 600"));
    await until(slurm, job, "running");
    await cluster.run("scontrol", "suspend", job.id);
    await until(slurm, job, "running", ({ suspended }) => suspended === true);
    await cluster.run("scontrol", "resume", job.id);
    await until(slurm, job, "running", ({ suspended }) => suspended !== true);
    await slurm.cancel([job], context);
    await ended(slurm, job);
  });

  it("never began where its log cannot be written", async () => {
    // Newer versions make directories that are missing; none makes one of a file.
    const file = join(workdirOf(cluster), "file");
    await writeFile(file, "");
    const job = await submitted(slurm, request("exit 0", { log: join(file, "log") }));
    const verdict = await ended(slurm, job);
    expect(verdict.kind).toBe("launch");
    expect(verdict.exitCode).toBeUndefined();
  });

  it("ends at once where its directory is missing, and runs nowhere else", async () => {
    const asked = request("touch ran", { directory: join(workdirOf(cluster), "missing") });
    expect(await ended(slurm, await submitted(slurm, asked))).toMatchObject({ kind: "failed", exitCode: 1 });
  });

  it("E11: is preempted, which is not its own failure", async () => {
    const resources = { ...small.resources, nodes: 2 };
    const placement = { native: [], exclusive: true };
    const victim = await submitted(slurm, request("sleep 600", { resources, placement }));
    await until(slurm, victim, "running");
    const winner = await submitted(
      slurm,
      request("exit 0", { resources, placement: { ...placement, queue: "urgent" } }),
    );
    const verdict = await ended(slurm, victim);
    expect(verdict).toMatchObject({ kind: "preempted", raw: expect.stringContaining("PREEMPTED") });
    expect(await ended(slurm, winner)).toMatchObject({ kind: "completed" });
  });
}

function nodeTests(): void {
  it("that are drained keep what runs and let nothing start, and the reason is shown", async () => {
    const running = await submitted(slurm, request("sleep 600"));
    await until(slurm, running, "running");
    const nodes = cluster.nodes.join(",");
    await cluster.run("scontrol", "update", `NodeName=${nodes}`, "State=DRAIN", "Reason=test");
    try {
      const waiting = await submitted(slurm, request("exit 0"));
      // Until Slurm has tried to begin it the reason is another one, or none.
      const why = /ReqNodeNotAvail|Resources|Nodes.required/;
      const status = await until(slurm, waiting, "queued", ({ reason = "" }) => why.test(reason));
      expect(status.stuck ?? false).toBe(false);
      expect((await statusOf(slurm, running)).state).toBe("running");
      await cluster.run("scontrol", "update", `NodeName=${nodes}`, "State=RESUME");
      expect(await ended(slurm, waiting)).toMatchObject({ kind: "completed" });
    } finally {
      await cluster.run("scontrol", "update", `NodeName=${nodes}`, "State=RESUME").catch(() => "");
    }
    await slurm.cancel([running], context);
    await ended(slurm, running);
  });

  it("E11: one that dies ends its job by that cause, although its processes may live on", async () => {
    await using fragile = await startCluster({ nodes: 1, settings: { SlurmdTimeout: "3" } });
    const [node = ""] = fragile.nodes;
    const own = slurmOf(fragile);
    const asked = requestFor(workdirOf(fragile), 'echo "$$"; exec sleep 600');
    const job = await submitted(own, asked);
    expect(await until(own, job, "running")).toMatchObject({ nodes: node });
    const pid = Number(await waitFor(async () => (await readFile(asked.log, "utf8")).trim(), { what: "its pid" }));
    await fragile.stop(node, "SIGKILL");
    const verdict = await ended(own, job);
    expect(verdict).toMatchObject({ kind: "node", raw: expect.stringContaining("NODE_FAIL") });
    expect(verdict.exitCode).toBeUndefined();
    expect(isAlive(pid)).toBe(true);
    await fragile.startNode(node);
    await fragile.nodesReady();
    await waitFor(() => !isAlive(pid), { what: "the end of its process", timeoutMs: 60_000 });
  });
}
