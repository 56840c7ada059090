/** What Slurm with accounting tells beyond the contract, which test/conformance/slurmdbd.test.ts proves. */
import { userInfo } from "node:os";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { ScheduledJob, Scheduler } from "../../../src/schedulers/types.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import type { SlurmCluster } from "../../helpers/engines/slurm-cluster.ts";
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
/** Ended at the start, so that the queue has forgotten them when they are asked for: Slurm sweeps every 30 s. */
let early: { readonly code: ScheduledJob; readonly large: ScheduledJob; readonly tasks: ScheduledJob };

describeWithEngine("slurmdbd", "Slurm with accounting", () => {
  beforeAll(async () => {
    cluster = await startCluster({ accounting: true, settings: { MinJobAge: "2" } });
    slurm = slurmOf(cluster);
    const waiting = { placement: { native: ["--begin=now+1hour"] } };
    early = {
      code: await submitted(slurm, request("exit 3")),
      large: await submitted(slurm, request("exit 130")),
      tasks: await submitted(slurm, request("exit 0", { ...waiting, tasks: 5 })),
    };
    await slurm.cancel([{ ...early.tasks, task: 1 }], context);
    await slurm.cancel([early.tasks], context);
  });
  afterAll(() => cluster[Symbol.asyncDispose]());

  it("says so", async () => {
    expect(await slurm.probe(context)).toMatchObject({ ok: true, notes: [expect.stringContaining("accounting")] });
    expect(slurm.capabilities.history).toBe("accounting");
  });

  it("E14: tells who cancelled a job by hand", async () => {
    const job = await submitted(slurm, request("sleep 600"));
    await until(slurm, job, "running");
    await cluster.run("scancel", job.id);
    const { verdict } = await until(slurm, job, "ended", (status) => status.verdict.by !== undefined);
    expect(verdict).toMatchObject({ kind: "cancelled", by: String(userInfo().uid), source: "accounting" });
  });

  it("tells times and usage, of steps, too", async () => {
    const body = "PATH=/usr/bin:/bin; export PATH; srun -n1 sh -c 'i=0; while test $i -lt 200000; do i=$((i+1)); done'";
    const job = await submitted(slurm, request(body));
    const { verdict } = await until(slurm, job, "ended", (status) => status.verdict.source === "accounting");
    expect(verdict).toMatchObject({ kind: "completed", exitCode: 0 });
    expect(Date.parse(verdict.endedAt ?? "")).toBeGreaterThanOrEqual(Date.parse(verdict.startedAt ?? ""));
    expect(verdict.usage?.cpuSeconds).toBeGreaterThan(0);
  });

  it("E6: jobs that the queue has forgotten ended as accounting says", async () => {
    const { code, large, tasks } = early;
    await waitFor(async () => !/^(?:1|2|3)\b/m.test(await cluster.run("squeue", "-h", "-r", "-t", "all", "-o", "%i")), {
      what: "the queue to forget the first jobs",
      timeoutMs: 100_000,
      intervalMs: 500,
    });
    expect(await ended(slurm, code)).toMatchObject({ kind: "failed", source: "accounting" });
    const [found] = await slurm.find([{ token: code.token, since: code.submittedAt }], context);
    expect(found).toMatchObject({ state: "found", jobs: [{ id: code.id }] });
    // Of an array that was cancelled while it waited there is one record for all tasks that were left.
    const whole = await slurm.statuses(
      [0, 2, 3, 4].map((task) => ({ ...tasks, task })),
      context,
    );
    for (const status of whole) expect(status).toMatchObject({ state: "ended", verdict: { kind: "cancelled" } });
    expect(await statusOf(slurm, { ...tasks, task: 5 })).toEqual({ state: "absent" });
    // 130 is printed as 2 by sacct before 25.11: rather no code than a wrong one.
    const { exitCode } = await ended(slurm, large);
    expect([undefined, 130]).toContain(exitCode);
  });

  it("E7: with accounting down, what the queue still has is told, and of the rest nothing is said", async () => {
    const job = await submitted(slurm, request("sleep 600"));
    await until(slurm, job, "running");
    await cluster.stop("slurmdbd");
    try {
      const gone = { ...job, id: "4000000" };
      const [running, unknown] = await slurm.statuses([job, gone], context);
      expect(running?.state).toBe("running");
      expect(unknown).toMatchObject({ state: "unknown", why: expect.stringMatching(/accounting|database|slurmdbd/) });
      const wanted = [job.token, early.code.token].map((token) => ({ token, since: job.submittedAt }));
      const found = await slurm.find(wanted, context);
      expect(found.map(({ state }) => state)).toEqual(["found", "unknown"]);
    } finally {
      await cluster.startAccounting();
    }
    await slurm.cancel([job], context);
    expect(await ended(slurm, job)).toMatchObject({ kind: "cancelled" });
  });
});

function request(body: string, more: Parameters<typeof requestFor>[2] = {}): ReturnType<typeof requestFor> {
  return requestFor(workdirOf(cluster), body, { ...small, ...more });
}
