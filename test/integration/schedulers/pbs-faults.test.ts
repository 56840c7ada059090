/** PBS that is down, lies, loses and limits: the adapter's real commands against a server program that shows each fault. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { newToken } from "../../../src/common/token.ts";
import { LocalHost } from "../../../src/hosts/local/index.ts";
import { createPbs } from "../../../src/schedulers/pbs/index.ts";
import type { RunRequest, RunResult } from "../../../src/hosts/types.ts";
import type {
  ScheduledJob,
  ScheduledStatus,
  Scheduler,
  SubmitRequest,
  Verdict,
} from "../../../src/schedulers/types.ts";
import { FakePbs } from "../../helpers/fake-pbs/index.ts";
import { temporaryDirectory, type TemporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";
import { context } from "../launchers/attempts.ts";

const patience = { timeout: 120_000 };
const since = (): string => new Date(Date.now() - 600_000).toISOString();

/** Counts the commands, and lets none run longer than it is told to. */
class ObservedHost extends LocalHost {
  readonly ran: (readonly string[])[] = [];
  limitMs = Infinity;

  override run(request: RunRequest, call: typeof context): Promise<RunResult> {
    this.ran.push(request.argv);
    return super.run({ ...request, timeoutMs: Math.min(request.timeoutMs, this.limitMs) }, call);
  }
}

let pbs: FakePbs;
let directory: TemporaryDirectory;
let host: ObservedHost;
let scheduler: Scheduler;
beforeEach(async () => {
  pbs = await FakePbs.start();
  directory = await temporaryDirectory();
  host = new ObservedHost({ name: "here", workdir: directory.path });
  scheduler = createPbs({ host, environment: pbs.environment });
}, patience.timeout);
afterEach(async () => {
  await pbs[Symbol.asyncDispose]();
  await directory[Symbol.asyncDispose]();
}, patience.timeout);

function request(body: string, more: Partial<SubmitRequest> = {}): SubmitRequest {
  const resources = { nodes: 1, ranks_per_node: 1, threads_per_rank: 1, gpus: 0 };
  const place = { walltimeS: 3_600, placement: { native: [] }, directory: directory.path, log: directory.join("log") };
  return { token: newToken(), tasks: 1, resources, ...place, body, ...more };
}

async function submitted(body: string, more: Partial<SubmitRequest> = {}): Promise<ScheduledJob> {
  const [result] = await scheduler.submit([request(body, more)], context);
  if (result?.state !== "submitted") throw new Error(JSON.stringify(result));
  return result.job;
}

async function statusOf(job: ScheduledJob): Promise<ScheduledStatus | undefined> {
  return (await scheduler.statuses([job], context))[0];
}

async function until(job: ScheduledJob, state: ScheduledStatus["state"]): Promise<void> {
  await waitFor(async () => (await statusOf(job))?.state === state, { what: `${job.id} ${state}`, timeoutMs: 90_000 });
}

async function endOf(job: ScheduledJob): Promise<Verdict> {
  await until(job, "ended");
  const status = await statusOf(job);
  if (status?.state !== "ended") throw new Error("not ended");
  return status.verdict;
}

const waiting = { placement: { native: ["-a", `${new Date().getFullYear() + 1}01011200`] } };

describe("questions", patience, () => {
  it("E5: an answer without jobs and with exit status 0 ends nothing", async () => {
    const jobs = [await submitted("exit 0", waiting), await submitted("exit 0", waiting)];
    const states = async (): Promise<unknown> => (await scheduler.statuses(jobs, context)).map(({ state }) => state);
    await pbs.setFaults({ silent: true });
    expect(await states()).toEqual(["unknown", "unknown"]);
    await pbs.setFaults({ json: "empty" });
    expect(await states()).toEqual(["queued", "queued"]);
    expect(host.ran.slice(-2).map((argv) => argv.includes("json"))).toEqual([true, false]);
  });

  it("E9: one unknown among many spoils nothing, also where the first alone is answered", async () => {
    const jobs = [await submitted("exit 0", waiting), await submitted("exit 0", waiting)];
    const never = { id: "777777.fakepbs", token: newToken(), submittedAt: since() };
    for (const faults of [{}, { firstOnly: true }, { noJson: true }]) {
      await pbs.setFaults(faults);
      const states = (await scheduler.statuses([never, ...jobs], context)).map(({ state }) => state);
      expect([faults, states]).toEqual([faults, ["absent", "queued", "queued"]]);
    }
  });

  it.each(["shell-function", "jobs-twice", "cut"] as const)("JSON that is none (%s) loses nothing", async (json) => {
    const jobs = [await submitted("exit 0", waiting), await submitted("exit 0", waiting)];
    await pbs.setFaults({ json });
    expect((await scheduler.statuses(jobs, context)).map(({ state }) => state)).toEqual(["queued", "queued"]);
  });

  it("without history an ended job is absent, a living one is not, and neither is said to have ended", async () => {
    await pbs.setFaults({ noHistory: true });
    const short = await submitted("exit 0");
    const long = await submitted("sleep 600");
    await until(short, "absent");
    await until(long, "running");
    expect(scheduler.capabilities.history).toBe("none");
    expect((await scheduler.find([{ token: short.token, since: since() }], context))[0]).toEqual({ state: "absent" });
    expect((await scheduler.find([{ token: long.token, since: since() }], context))[0]).toMatchObject({
      state: "found",
    });
    await pbs.setFaults({});
    expect(await statusOf(short)).toMatchObject({ state: "ended", verdict: { kind: "completed" } });
  });

  it("E23: without history a task that is over is absent while its array lives, whatever its array's record says", async () => {
    await pbs.setFaults({ noHistory: true });
    const parent = await submitted('[ "$SITEAGENT_TASK" -eq 0 ] || sleep 600; exit 3', { tasks: 2 });
    const [failed, living] = [0, 1].map((task) => ({ ...parent, task }));
    if (!failed || !living) throw new Error("no tasks");
    await until(living, "running");
    await until(failed, "absent");
    expect(await statusOf(living)).toMatchObject({ state: "running" });
  });

  it("E10: states in words that nobody knows are unknown, and say so", async () => {
    const job = await submitted("exit 0", waiting);
    for (const job_state of ["r", "Running", "", "?"]) {
      await pbs.setFaults({ records: { [job.id]: { job_state } } });
      expect(await statusOf(job)).toEqual({ state: "unknown", why: `PBS says job_state '${job_state}'` });
    }
    await pbs.setFaults({ records: { [job.id]: { job_state: "M" } } });
    expect(await statusOf(job)).toMatchObject({ state: "unknown", why: expect.stringContaining("moved") });
  });

  it("E17: banners of a site's wrapper around everything change nothing", async () => {
    await pbs.setFaults({ banner: true });
    const job = await submitted("exit 4");
    expect(await endOf(job)).toMatchObject({ kind: "failed", exitCode: 4 });
    expect((await scheduler.find([{ token: job.token, since: since() }], context))[0]).toMatchObject({
      state: "found",
    });
    expect(await scheduler.cancel([job], context)).toEqual([{ state: "over" }]);
  });

  it("E19: a command that does not end is ended, and says nothing", async () => {
    const job = await submitted("exit 0", waiting);
    await pbs.setFaults({ hang: true });
    host.limitMs = 1_500;
    expect(await statusOf(job)).toEqual({ state: "unknown", why: "qstat did not answer in time" });
    expect((await scheduler.find([{ token: job.token, since: since() }], context))[0]?.state).toBe("unknown");
    expect((await scheduler.submit([request("exit 0")], context))[0]?.state).toBe("unclear");
    expect((await scheduler.cancel([job], context))[0]?.state).toBe("unknown");
  });

  it("E20: an authentication that fails ends nothing, and is named", async () => {
    const job = await submitted("exit 0", waiting);
    await pbs.setFaults({ credential: true });
    expect(await statusOf(job)).toMatchObject({ state: "unknown", why: expect.stringContaining("Invalid credential") });
    expect((await scheduler.submit([request("exit 0")], context))[0]).toMatchObject({
      state: "unclear",
      why: expect.stringContaining("Invalid credential"),
    });
    expect((await scheduler.cancel([job], context))[0]?.state).toBe("unknown");
  });
});

describe("submissions", patience, () => {
  it("E1: one that is accepted and says an error is found by its token, and only once", async () => {
    await pbs.setFaults({
      qsubAfter: { exitCode: 162, stderr: "qsub: cannot connect to server fakepbs (errno=15010)\n" },
    });
    const wanted = request("exit 0", waiting);
    expect((await scheduler.submit([wanted], context))[0]?.state).toBe("unclear");
    await pbs.setFaults({});
    const [found] = await scheduler.find([{ token: wanted.token, since: since() }], context);
    expect(found).toMatchObject({ state: "found", jobs: [{ token: wanted.token }] });
    expect(pbs.jobs()).toHaveLength(1);
  });

  it("E16: limits wait, wrong requests are refused, in PBS's words", async () => {
    const stderr = "qsub: would exceed queue workq's per-user limit of jobs in 'Q' state\n";
    await pbs.setFaults({ qsubRefused: { exitCode: 38, stderr } });
    expect((await scheduler.submit([request("exit 0")], context))[0]).toEqual({
      state: "limited",
      reason: stderr.trim(),
    });
    await pbs.setFaults({ qsubRefused: { exitCode: 201, stderr: "qsub: Invalid Account\n" } });
    expect((await scheduler.submit([request("exit 0")], context))[0]).toEqual({
      state: "rejected",
      reason: "qsub: Invalid Account",
    });
    expect(pbs.jobs()).toEqual([]);
  });

  it("what PBS cannot do is rejected before anything is asked", async () => {
    const wrong = request("exit 0", { placement: { native: ["-z"], qos: "high" } });
    const [result] = await scheduler.submit([wrong], context);
    expect(result).toMatchObject({ state: "rejected", reason: expect.stringMatching(/QOS.*'-z'/) });
    expect(host.ran.map(([name]) => name)).not.toContain("qsub");
  });
});

describe("ends", patience, () => {
  it("E11: the walltime, a signal and a node that failed have their own causes", async () => {
    const [late, killed, lost] = await Promise.all([
      submitted("sleep 600", { walltimeS: 1 }),
      submitted("kill -9 $$"),
      submitted("exit 0"),
    ]);
    expect(await endOf(late)).toMatchObject({ kind: "timeout" });
    expect(await endOf(killed)).toMatchObject({ kind: "failed", signal: "SIGKILL" });
    await endOf(lost);
    await pbs.setFaults({ records: { [lost.id]: { Exit_status: -20, substate: 93 } } });
    expect(await endOf(lost)).toMatchObject({ kind: "node" });
  });

  it("E12: a job that the site begins again is the same job, and says how often", async () => {
    const job = await submitted('while ! test -d "$PWD/go"; do sleep 0.1; done; exit 5');
    await until(job, "running");
    await pbs.setFaults({ records: { [job.id]: { job_state: "Q", run_count: 1 } } });
    expect(await statusOf(job)).toMatchObject({ state: "queued", restarts: 1 });
    await pbs.setFaults({ records: { [job.id]: { run_count: 2 } } });
    expect(await statusOf(job)).toMatchObject({ state: "running", restarts: 1 });
    await pbs.setFaults({});
    await mkdir(join(directory.path, "go"));
    expect(await endOf(job)).toMatchObject({ kind: "failed", exitCode: 5 });
  });

  it("E14: deleted by somebody else it says by whom", async () => {
    const job = await submitted("sleep 600");
    await until(job, "running");
    const other = createPbs({ host, environment: pbs.environment });
    expect(await other.cancel([job], context)).toEqual([{ state: "requested" }]);
    expect(await endOf(job)).toMatchObject({ kind: "cancelled", by: "tester@fakepbs" });
  });

  it("E15: a job that can never run, or is held, is stuck and says why", async () => {
    const job = await submitted("exit 0", waiting);
    const comment = "Can Never Run: Insufficient amount of resource: ncpus";
    await pbs.setFaults({ records: { [job.id]: { comment } } });
    expect(await statusOf(job)).toEqual({ state: "queued", stuck: true, reason: comment });
    await pbs.setFaults({
      records: { [job.id]: { job_state: "H", Hold_Types: "s", comment: "job held, too many failed attempts" } },
    });
    expect(await statusOf(job)).toMatchObject({
      stuck: true,
      reason: "held (Hold_Types s); job held, too many failed attempts",
    });
  });
});

it("E18: two thousand jobs cost one question", patience, async () => {
  const job = await submitted("exit 0", waiting);
  const [template] = pbs.jobs();
  if (!template) throw new Error("no job");
  const jobs = Array.from({ length: 2_000 }, (_, index) => {
    const token = newToken();
    const id = `${100_000 + index}.fakepbs`;
    pbs.add({ ...template, id, name: token });
    return { ...job, id, token };
  });
  const before = host.ran.length;
  const statuses = await scheduler.statuses(jobs, context);
  expect(new Set(statuses.map(({ state }) => state))).toEqual(new Set(["queued"]));
  expect(host.ran.length - before).toBe(1);
});
