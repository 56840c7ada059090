/** Faults that a real Slurm does not show when it is asked to: its commands are scripts with the texts and exit codes of the real ones. */
import { describe, expect, it } from "vitest";
import { systemClock } from "../../../src/common/clock.ts";
import { newToken, type Token } from "../../../src/common/token.ts";
import type { ScheduledJob, ScheduledStatus } from "../../../src/schedulers/types.ts";
import { accountingLine, queueLine, submittedAt, token } from "../../helpers/slurm-answers.ts";
import { context } from "../launchers/attempts.ts";
import { FakeSlurm, hasty, job, request, row, wanted } from "./fake-slurm.ts";

const controllerDown = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n";

async function statusWith(fake: FakeSlurm, one: ScheduledJob = job): Promise<ScheduledStatus | undefined> {
  const [status] = await fake.scheduler().statuses([one], context);
  return status;
}

describe("statuses", () => {
  it.each([
    { stderr: controllerDown, exitCode: 1 },
    { stderr: "slurm_load_jobs error: Socket timed out on send/recv operation\n", exitCode: 0 },
    {
      stdout: "CLUSTER: blue\n",
      stderr: "squeue: error: slurm_receive_msg: Zero Bytes were transmitted or received\n",
    },
    { stdout: row().slice(0, 20), exitCode: 0 },
  ])("E4: are unknown while the queue cannot be read, and no order is given: %j", async (answer) => {
    await using fake = await FakeSlurm.make({ accounting: true });
    await fake.prints("squeue", answer);
    await fake.prints("sacct", { stderr: "sacct: error: Problem talking to the database: Connection refused\n" });
    const slurm = fake.scheduler();
    expect(await slurm.statuses([job, { ...job, id: "13" }], context)).toMatchObject([
      { state: "unknown", why: expect.stringMatching(/\w/) },
      { state: "unknown" },
    ]);
    expect(await slurm.find(wanted, context)).toMatchObject([{ state: "unknown" }]);
    expect(await slurm.cancel([job], context)).toMatchObject([{ state: "unknown" }]);
    expect(await fake.calls("scancel")).toEqual([]);
  });

  it("E4: are unknown when not even the configuration can be read", async () => {
    await using fake = await FakeSlurm.make();
    await fake.prints("scontrol", {
      stderr: "slurm_load_ctl_conf error: Unable to contact slurm controller\n",
      exitCode: 1,
    });
    expect(await statusWith(fake)).toMatchObject({ state: "unknown", why: expect.stringContaining("controller") });
  });

  it("E5: an empty queue is no end: absent without accounting, unknown where accounting has it running", async () => {
    await using fake = await FakeSlurm.make();
    expect(await statusWith(fake)).toEqual({ state: "absent" });
    await using other = await FakeSlurm.make({ accounting: true });
    await other.prints("sacct", {
      stdout: accountingLine({ id: "12", state: "RUNNING", name: token, ended: "Unknown" }),
    });
    expect(await statusWith(other)).toMatchObject({ state: "unknown", why: expect.stringContaining("RUNNING") });
  });

  it("E6: a job that has left the queue ended as accounting says", async () => {
    await using fake = await FakeSlurm.make({ accounting: true, version: "25.11.0" });
    await fake.prints("sacct", { stdout: accountingLine({ id: "12", state: "FAILED", exit: "3:0", name: token }) });
    expect(await statusWith(fake)).toMatchObject({
      state: "ended",
      verdict: { kind: "failed", exitCode: 3, source: "accounting", endedAt: "2026-11-21T16:57:00.000Z" },
    });
    const [call = ""] = await fake.calls("sacct");
    expect(call).toContain("-S 2026-11-21T15:56:57");
  });

  it("E9: one id that is gone hides no other", async () => {
    await using fake = await FakeSlurm.make({ accounting: true });
    await fake.prints("squeue", { stdout: row({ id: "14" }) });
    await fake.prints("sacct", { stdout: accountingLine({ id: "13", state: "COMPLETED", name: token }) });
    const jobs = ["12", "13", "14"].map((id) => ({ ...job, id }));
    const statuses = await fake.scheduler().statuses(jobs, context);
    expect(statuses.map(({ state }) => state)).toEqual(["absent", "ended", "running"]);
  });

  it.each([
    ["CANCELLED by 1234", "ended"],
    ["CANCELLED+", "ended"],
    ["completed", "ended"],
    ["SCHRÖDINGER", "unknown"],
    ["ABGEBROCHEN", "unknown"],
    ["", "unknown"],
  ])("E10: '%s' in the queue is %s", async (state, meant) => {
    await using fake = await FakeSlurm.make();
    await fake.prints("squeue", { stdout: row({ state }) });
    expect((await statusWith(fake))?.state).toBe(meant);
  });

  it.each([
    ["TIMEOUT", "0:0", "timeout"],
    ["PREEMPTED", "0:15", "preempted"],
    ["NODE_FAIL", "0:0", "node"],
    ["BOOT_FAIL", "0:0", "node"],
    ["OUT_OF_MEMORY", "0:125", "oom"],
    ["DEADLINE", "0:0", "limit"],
    ["FAILED", "0:53", "launch"],
    ["CANCELLED", "0:0", "cancelled"],
  ])("E11: %s with %s is %s, from queue and accounting, and has no exit code", async (state, exit, kind) => {
    await using fake = await FakeSlurm.make({ accounting: true });
    await fake.prints("squeue", { stdout: row({ state, exit }) });
    for (const source of ["queue", "accounting"]) {
      const status = await statusWith(fake);
      expect(status).toMatchObject({ state: "ended", verdict: { kind, source, raw: expect.stringContaining(state) } });
      expect(status?.state === "ended" && status.verdict.exitCode).toBeUndefined();
      await fake.prints("sacct", { stdout: accountingLine({ id: "12", state, exit, name: token }) });
    }
  });

  it("E11: REVOKED is not ours to judge", async () => {
    await using fake = await FakeSlurm.make();
    await fake.prints("squeue", { stdout: row({ state: "REVOKED" }) });
    expect((await statusWith(fake))?.state).toBe("unknown");
  });

  it("E12: a requeued job waits or runs again, and says how often it was begun", async () => {
    await using fake = await FakeSlurm.make();
    await fake.prints("squeue", { stdout: row({ state: "REQUEUED", reason: "BeginTime", restarts: "1" }) });
    expect(await statusWith(fake)).toMatchObject({ state: "queued", restarts: 1 });
    await fake.prints("squeue", { stdout: row({ state: "RUNNING", restarts: "2" }) });
    expect(await statusWith(fake)).toMatchObject({ state: "running", restarts: 2, since: "2026-11-21T16:56:59.000Z" });
    await fake.prints("squeue", { stdout: row({ state: "REQUEUE_HOLD", restarts: "2" }) });
    expect(await statusWith(fake)).toMatchObject({ state: "queued", stuck: true, restarts: 2 });
  });

  it("E13: a record with our id and another name, or of another time, is not our job's", async () => {
    await using fake = await FakeSlurm.make({ accounting: true });
    const stranger = newToken();
    await fake.prints("squeue", { stdout: row({ name: stranger }) });
    await fake.prints("sacct", { stdout: accountingLine({ id: "12", state: "COMPLETED", name: stranger }) });
    expect(await statusWith(fake)).toEqual({ state: "absent" });
    const old = "1500000000";
    await fake.prints("squeue", { stdout: row({ submitted: old }) });
    await fake.prints("sacct", {
      stdout: accountingLine({ id: "12", state: "COMPLETED", name: token, submitted: old }),
    });
    expect(await statusWith(fake)).toEqual({ state: "absent" });
    expect(await fake.scheduler().cancel([job], context)).toEqual([{ state: "over" }]);
    expect(await fake.calls("scancel")).toEqual([]);
  });

  it("E14: a cancel by somebody else names them", async () => {
    await using fake = await FakeSlurm.make({ accounting: true });
    const stdout = accountingLine({ id: "12", state: "CANCELLED by 1234", exit: "0:0", name: token });
    await fake.prints("sacct", { stdout });
    expect(await statusWith(fake)).toMatchObject({ state: "ended", verdict: { kind: "cancelled", by: "1234" } });
  });

  it("E15: a job that never starts says why", async () => {
    await using fake = await FakeSlurm.make();
    for (const reason of ["JobHeldAdmin", "DependencyNeverSatisfied", "InvalidAccount"]) {
      await fake.prints("squeue", { stdout: row({ state: "PENDING", reason }) });
      expect(await statusWith(fake)).toMatchObject({ state: "queued", reason, stuck: true });
    }
  });

  it("E20: name authentication as the cause when it fails", async () => {
    await using fake = await FakeSlurm.make();
    const stderr = "squeue: error: slurm_send_node_msg: auth_g_create: REQUEST_JOB_INFO has authentication error\n";
    await fake.prints("squeue", { stderr, exitCode: 1 });
    expect(await statusWith(fake)).toMatchObject({
      state: "unknown",
      why: expect.stringMatching(/^authentication failed/),
    });
  });

  it("E24: a job whose partition is gone is followed, and new ones are refused with the reason", async () => {
    await using fake = await FakeSlurm.make();
    await fake.prints("squeue", { stdout: row({ reason: "PartitionInactive" }) });
    const stderr =
      "sbatch: error: invalid partition specified: main\nsbatch: error: Batch job submission failed: Invalid partition name specified\n";
    await fake.prints("sbatch", { stderr, exitCode: 1 });
    expect((await statusWith(fake))?.state).toBe("running");
    expect(await fake.scheduler().submit([request(fake)], context)).toMatchObject([
      { state: "rejected", reason: expect.stringContaining("invalid partition specified: main") },
    ]);
  });

  it("E24: a job is followed under its token at the cluster that there is now, when the name of the one that took it is gone", async () => {
    await using fake = await FakeSlurm.make();
    const renamed = { ...job, cluster: "red", origin: "red" };
    const gone = "squeue: error: 'red' can't be reached now, or it is an invalid entry for --cluster.\n";
    const answer = `case "$*" in *red*) printf '%s' "${gone}" >&2; exit 1 ;; esac; cat "$d/squeue.out"`;
    const slurm = fake.scheduler({ SLURM_CLUSTERS: "blue" });
    await fake.prints("squeue", { stdout: `CLUSTER: blue\n${row()}` });
    await fake.does("squeue", answer);
    await fake.prints("scancel", {});
    expect(await slurm.statuses([renamed], context)).toMatchObject([{ state: "running", nodes: "n1" }]);
    expect(await slurm.cancel([renamed], context)).toEqual([{ state: "requested" }]);
    expect((await fake.calls("scancel")).at(-1)).toContain("-M blue");
    // The same number there is another job's: nothing is known of ours, and nothing is done to the other.
    await fake.prints("squeue", { stdout: `CLUSTER: blue\n${row({ name: newToken() })}` });
    await fake.does("squeue", answer);
    expect(await slurm.statuses([renamed], context)).toMatchObject([
      { state: "unknown", why: expect.stringContaining("'red' can't be reached") },
    ]);
    expect(await slurm.cancel([renamed], context)).toMatchObject([{ state: "unknown" }]);
    expect(await fake.calls("scancel")).toHaveLength(1);
  });

  it("E24: behind the same commands another cluster: that it does not have a job is no absence", async () => {
    await using fake = await FakeSlurm.make({ accounting: true });
    await fake.prints("sbatch", { stdout: "12\n" });
    const slurm = fake.scheduler();
    const [taken] = await slurm.submit([request(fake)], context);
    if (taken?.state !== "submitted") throw new Error(JSON.stringify(taken));
    expect(taken.job.origin).toBe("blue");
    const old = { ...taken.job, submittedAt };
    // Our number is somebody else's there, or nobody's.
    for (const stdout of ["", row({ name: newToken() })]) {
      await fake.prints("squeue", { stdout });
      expect(await slurm.statuses([old], context)).toEqual([{ state: "absent" }]);
      await fake.rename("green");
      expect(await fake.scheduler().statuses([old], context)).toMatchObject([
        {
          state: "unknown",
          why: expect.stringContaining("cluster 'blue' took it, and the one that answers is 'green'"),
        },
      ]);
      await fake.rename("blue");
    }
    // Accounting still has it under the name that the cluster had.
    await fake.rename("green");
    const stdout = accountingLine({ id: "12", state: "COMPLETED", name: token });
    await fake.prints("sacct", { stdout });
    await fake.does("sacct", `case "$*" in *"-M blue"*) cat "$d/sacct.out" ;; esac`);
    expect(await fake.scheduler().statuses([{ ...old, token }], context)).toMatchObject([
      { state: "ended", verdict: { kind: "completed", source: "accounting" } },
    ]);
  });

  it("E24: an agent that goes on while the cluster behind its commands changes sees that, too", async () => {
    await using fake = await FakeSlurm.make();
    let laterMs = 0;
    const clock = { ...systemClock, monotonic: () => systemClock.monotonic() + laterMs };
    const slurm = fake.scheduler();
    const ours = { ...job, origin: "blue" };
    await fake.prints("squeue", {});
    expect(await slurm.statuses([ours], { ...context, clock })).toEqual([{ state: "absent" }]);
    await fake.rename("green");
    laterMs = 301_000;
    expect(await slurm.statuses([ours], { ...context, clock })).toMatchObject([{ state: "unknown" }]);
  });

  it("do not take the exit codes of an older sacct for what they seem", async () => {
    await using fake = await FakeSlurm.make({ accounting: true, version: "24.05.1" });
    await fake.prints("sacct", { stdout: accountingLine({ id: "12", state: "FAILED", exit: "0:0", name: token }) });
    const status = await statusWith(fake);
    expect(status).toMatchObject({ state: "ended", verdict: { kind: "failed" } });
    expect(status?.state === "ended" && status.verdict.exitCode).toBeUndefined();
    await fake.prints("squeue", { stdout: row({ state: "FAILED", exit: "128:0" }) });
    expect(await statusWith(fake)).toMatchObject({ verdict: { kind: "failed", exitCode: 128, source: "accounting" } });
  });

  it("know a step that was killed for its memory, whatever the job ended with", async () => {
    await using fake = await FakeSlurm.make({ accounting: true });
    const stdout =
      accountingLine({ id: "12", state: "COMPLETED", name: token }) +
      accountingLine({ id: "12.batch", state: "COMPLETED", name: "batch" }) +
      accountingLine({ id: "12.0", state: "OUT_OF_MEMORY", exit: "0:125", name: "app" });
    await fake.prints("sacct", { stdout });
    expect(await statusWith(fake)).toMatchObject({ verdict: { kind: "oom", raw: expect.stringContaining("step 0") } });
  });

  it("take accounting that is switched off, or not installed, for none", async () => {
    await using fake = await FakeSlurm.make({ accounting: true });
    const slurm = fake.scheduler();
    await fake.prints("sacct", { stderr: "Slurm accounting storage is disabled\n", exitCode: 1 });
    expect(await slurm.statuses([job], context)).toEqual([{ state: "absent" }]);
    expect(slurm.capabilities.history).toBe("queue");
    await using bare = await FakeSlurm.make({ accounting: true });
    await bare.does("scontrol", 'rm -f "$d/bin/sacct"; cat "$d/scontrol.out"');
    expect(await statusWith(bare)).toEqual({ state: "absent" });
  });
});

describe("many", () => {
  it("E18: 50,000 jobs in the queue are read, ours among them", async () => {
    await using fake = await FakeSlurm.make();
    const line = queueLine({ id: "ID", state: "RUNNING", name: "NAME" }).trimEnd();
    await fake.does(
      "squeue",
      `awk -v line='${line}' 'BEGIN { for (i = 1; i <= 50000; i++) { row = line; sub(/ID/, i, row); sub(/NAME/, sprintf("t%014d", i), row); sub(/NAME/, "", row); print row } }'`,
    );
    const jobs = [1, 25_000, 50_000, 50_001].map((number) => ({
      id: String(number),
      token: `t${String(number).padStart(14, "0")}` as Token,
      submittedAt,
    }));
    const statuses = await fake.scheduler().statuses(jobs, context);
    expect(statuses.map(({ state }) => state)).toEqual(["running", "running", "running", "absent"]);
    expect(await fake.calls("squeue")).toHaveLength(1);
  });

  it("E18: 100 MB are cut at the limit, and such an answer is none", async () => {
    await using fake = await FakeSlurm.make();
    await fake.does("squeue", `head -c 100000000 /dev/zero | tr '\\0' x`);
    expect(await statusWith(fake)).toMatchObject({ state: "unknown", why: expect.stringContaining("limit") });
  });

  it("E19: a query that hangs is killed at its limit, there is never more than one, and whoever asked shares its answer", async () => {
    await using fake = await FakeSlurm.make();
    const slurm = fake.scheduler();
    await slurm.probe(context);
    const before = (await fake.calls("squeue")).length;
    await fake.does("squeue", 'mkdir "$d/one" || touch "$d/two"; sleep 600; rmdir "$d/one"');
    const [first, ...others] = await Promise.all(Array.from({ length: 20 }, () => slurm.statuses([job], hasty)));
    expect(first).toMatchObject([{ state: "unknown", why: expect.stringContaining("time limit") }]);
    for (const answer of others) expect(answer).toEqual(first);
    expect((await fake.calls("squeue")).length - before).toBeLessThanOrEqual(2);
  });

  it("ten thousand jobs that the queue does not have cost one question of it and one of accounting", async () => {
    await using fake = await FakeSlurm.make({ accounting: true });
    const ids = Array.from({ length: 10_000 }, (_, index) => String(67_000_000 + index));
    const statuses = await fake.scheduler().statuses(
      ids.map((id) => ({ ...job, id })),
      context,
    );
    expect(new Set(statuses.map(({ state }) => state))).toEqual(new Set(["absent"]));
    expect(await fake.calls("squeue")).toHaveLength(1);
    expect(await fake.calls("sacct")).toHaveLength(1);
  });

  it("accounting is asked for 200 names at once, and for fewer ids, at most twice at a time, when the answer is too large", async () => {
    await using fake = await FakeSlurm.make({ accounting: true });
    const names = Array.from({ length: 450 }, () => ({ token: newToken(), since: job.submittedAt }));
    await fake.scheduler().find(names, context);
    const sizes = (await fake.calls("sacct")).map((call) => call.split(" --name=")[1]?.split(",").length);
    expect(sizes).toEqual([200, 200, 50]);
    const large = `case "$*" in *12,13*) head -c 70000000 /dev/zero | tr '\\0' x ;; *"-j 13"*) cat "$d/sacct.out" ;; esac`;
    const stdout = accountingLine({ id: "13", state: "COMPLETED", name: token });
    await fake.prints("sacct", { stdout });
    await fake.does("sacct", large);
    const slurm = fake.scheduler();
    const states = async (): Promise<readonly string[]> =>
      (await slurm.statuses([job, { ...job, id: "13" }], context)).map(({ state }) => state);
    const before = (await fake.calls("sacct")).length;
    expect(await states()).toEqual(["absent", "unknown"]);
    expect(await states()).toEqual(["absent", "ended"]);
    expect((await fake.calls("sacct")).length - before).toBe(4);
  });

  it("orders name 200 jobs at once, those of the queue alone", async () => {
    await using fake = await FakeSlurm.make();
    const ids = Array.from({ length: 450 }, (_, index) => String(1_000 + index));
    await fake.prints("squeue", { stdout: ids.map((id) => row({ id })).join("") });
    const refused = "scancel: error: Kill job error on job id 1001: Access/permission denied\n";
    await fake.prints("scancel", { stderr: refused, exitCode: 1 });
    const jobs = [...ids, "5000", "all", "1000; rm"].map((id) => ({ ...job, id }));
    const results = await fake.scheduler().cancel(jobs, context);
    const states = results.map(({ state }) => state);
    expect(states.slice(0, 3)).toEqual(["requested", "refused", "requested"]);
    expect(states.slice(-3)).toEqual(["over", "refused", "refused"]);
    const calls = await fake.calls("scancel");
    expect(calls.map((call) => call.split(" ").length)).toEqual([200, 200, 50]);
    expect(calls.join(" ")).not.toMatch(/5000|all|rm/);
  });
});

describe("several clusters", () => {
  it("every command names the cluster that the site file names", async () => {
    await using fake = await FakeSlurm.make({ accounting: true });
    const slurm = fake.scheduler({ SLURM_CLUSTERS: "red" });
    await fake.prints("sbatch", { stdout: "12;red\n" });
    await fake.prints("squeue", { stdout: `CLUSTER: red\n${row()}` });
    const [result] = await slurm.submit([request(fake)], context);
    expect(result).toMatchObject({ state: "submitted", job: { id: "12", cluster: "red" } });
    await slurm.find([...wanted, { token: newToken(), since: submittedAt }], context);
    await slurm.cancel([job], context);
    await slurm.hold([job], context);
    for (const command of ["sbatch", "squeue", "sacct", "scancel", "scontrol"] as const) {
      const calls = await fake.calls(command);
      expect(calls.length).toBeGreaterThan(0);
      for (const call of calls) expect(call).toContain("-M red");
    }
  });

  it("a job is asked for at the cluster that took it", async () => {
    await using fake = await FakeSlurm.make();
    const there = { ...job, cluster: "green" };
    await fake.does("squeue", `case "$*" in *green*) cat "$d/squeue.out" ;; esac`);
    await fake.prints("scancel", {});
    await fake.prints("squeue", { stdout: row() });
    await fake.does("squeue", `case "$*" in *green*) cat "$d/squeue.out" ;; esac`);
    const slurm = fake.scheduler();
    const statuses = await slurm.statuses([job, there], context);
    expect(statuses.map(({ state }) => state)).toEqual(["absent", "running"]);
    expect(await slurm.cancel([there, job], context)).toEqual([{ state: "requested" }, { state: "over" }]);
    expect(await fake.calls("scancel")).toEqual(["-M green 12"]);
  });
});
