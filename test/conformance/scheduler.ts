/** What every scheduler adapter promises (src/schedulers/types.ts), proven through its verbs alone on a scheduler that really runs jobs. */
import { mkdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { newToken, type Token } from "../../src/common/token.ts";
import type { Resources } from "../../src/jobs/app.ts";
import type {
  FindResult,
  OrderResult,
  Placement,
  ScheduledJob,
  ScheduledStatus,
  Scheduler,
  SubmitRequest,
  SubmitResult,
  Verdict,
} from "../../src/schedulers/types.ts";
import { context } from "../integration/launchers/attempts.ts";
import { waitFor } from "../helpers/wait.ts";

/** One scheduler in which jobs that ask for little start at once; the tests of a suite share it. */
export interface SchedulerHarness extends AsyncDisposable {
  readonly scheduler: Scheduler;
  /** Directory in which jobs may write; seen by nodes and by the tests under the same path. */
  readonly workdir: string;
  /** What a small job asks for here. */
  readonly small: {
    readonly resources: Resources;
    readonly walltimeS: number | undefined;
    readonly placement: Placement;
  };
  /** Native options with which a job waits for an hour or more and is not held. */
  readonly waiting: readonly string[];
  /** A queue that does not exist. */
  readonly wrongQueue: string;
  /** An id in the scheduler's form that no job ever had. */
  readonly neverUsedId: string;
  /** Makes the scheduler unreachable until disposed. Left out where a test cannot do that. */
  readonly outage?: () => Promise<AsyncDisposable>;
}

/** What not every scheduler, or not every one that tests can start, is able to do. */
export interface SchedulerAbilities {
  readonly arrays: boolean;
  readonly hold: boolean;
  /** Ended jobs are told for at least a minute, with their exit codes. */
  readonly history: boolean;
}

/** A loaded machine takes its time to start and end jobs. */
const patienceMs = 90_000;
const suiteTimeout = { timeout: 180_000 } as const;

export function describeScheduler(
  name: string,
  make: () => Promise<SchedulerHarness>,
  abilities: SchedulerAbilities,
): void {
  describe(`scheduler contract: ${name}`, suiteTimeout, () => {
    let harness: SchedulerHarness;
    beforeAll(async () => {
      harness = await make();
    }, suiteTimeout.timeout);
    afterAll(async () => {
      await harness[Symbol.asyncDispose]();
    }, suiteTimeout.timeout);
    const given = (): SchedulerHarness => harness;

    describe("submits", () => submitTests(given));
    describe("finds", () => findTests(given, abilities));
    describe("follows", () => statusTests(given, abilities));
    describe("ends", () => cancelTests(given));
    if (abilities.hold) describe("holds", () => holdTests(given));
    if (abilities.arrays) describe("arrays", () => arrayTests(given));
    describe("an outage", () => outageTests(given, abilities));
  });
}

type Given = () => SchedulerHarness;

function submitTests(given: Given): void {
  test("works here, and says where ended jobs can be asked for", async () => {
    const { scheduler } = given();
    expect(await scheduler.probe(context)).toMatchObject({ ok: true, version: expect.stringMatching(/\d/) });
    expect(["accounting", "queue", "none"]).toContain(scheduler.capabilities.history);
  });

  test("runs the script in its directory, with its variables, its log and nothing of the agent's environment", async () => {
    process.env["SITEAGENT_TEST_AGENT_ONLY"] = "agent-only";
    const job = await submitted(
      given(),
      `echo "at $PWD"; echo "task $SITEAGENT_TASK"; echo "id $SITEAGENT_NATIVE_ID"; echo "restarts '$SITEAGENT_RESTARTS'"
echo "odd 'x' \\"y\\" \\\\ ü €"; /usr/bin/env; echo "to stderr" >&2; echo last`,
    ).finally(() => delete process.env["SITEAGENT_TEST_AGENT_ONLY"]);
    await over(given(), job);
    const log = await waitFor(async () => endsWith(await readFile(logOf(given(), job.token), "utf8"), "last\n"), {
      what: "the log",
      timeoutMs: patienceMs,
    });
    expect(log).toContain(`at ${given().workdir}\n`);
    expect(log).toContain("task 0\n");
    expect(log).toContain(`id ${job.id}\n`);
    expect(log).toMatch(/restarts '0?'\n/);
    expect(log).toContain(`odd 'x' "y" \\ ü €\n`);
    expect(log).not.toContain("agent-only");
  });

  test("a wrong request is rejected in the scheduler's words, and nothing of it is there", async () => {
    const { scheduler, small, wrongQueue } = given();
    const wrong = request(given(), "exit 0", { placement: { ...small.placement, queue: wrongQueue } });
    const [result] = await scheduler.submit([wrong], context);
    expect(result).toMatchObject({ state: "rejected", reason: expect.stringMatching(/\w{4}/) });
    expect(await findOne(scheduler, wrong.token)).toEqual({ state: "absent" });
  });

  test("a value that would end its line is refused, and nothing of it is there", async () => {
    const { scheduler, small } = given();
    const evil = request(given(), "exit 0", { placement: { ...small.placement, account: "x\ntouch /tmp/evil" } });
    const [result] = await scheduler.submit([evil], context);
    expect(result).toMatchObject({ state: "rejected", reason: expect.stringContaining("control character") });
    expect(await findOne(scheduler, evil.token)).toEqual({ state: "absent" });
  });

  test("gives one result for each request, in order", async () => {
    const { scheduler, small, wrongQueue } = given();
    const requests = [
      request(given(), "exit 4"),
      request(given(), "exit 0", { placement: { ...small.placement, queue: wrongQueue } }),
      request(given(), "exit 5"),
    ];
    const [first, wrong, last] = await scheduler.submit(requests, context);
    expect(wrong?.state).toBe("rejected");
    const jobs = [jobOf(first), jobOf(last)];
    expect(jobs.map(({ token }) => token)).toEqual([requests[0]?.token, requests[2]?.token]);
    expect(new Set(jobs.map(({ id }) => id)).size).toBe(2);
    for (const job of jobs) await over(given(), job);
  });
}

function findTests(given: Given, { history }: SchedulerAbilities): void {
  test("a job by its token while it is there, and none by another", async () => {
    const { scheduler } = given();
    const job = await submitted(given(), "sleep 600");
    try {
      const unknown = newToken();
      const wanted = [unknown, job.token].map((token) => ({ token, since: minutesAgo(10) }));
      const [none, found] = await scheduler.find(wanted, context);
      expect(none).toEqual({ state: "absent" });
      expect(idsOf(found)).toEqual([job.id]);
    } finally {
      await cancelled(given(), job);
    }
  });

  if (history) {
    test("a job by its token after its end", async () => {
      const job = await submitted(given(), "exit 0");
      await over(given(), job);
      expect(idsOf(await findOne(given().scheduler, job.token))).toEqual([job.id]);
    });
  }

  test("both of a double submission, the oldest first, and what it found can be followed and cancelled", async () => {
    const { scheduler, small, waiting } = given();
    const wanted = request(given(), "sleep 600", { placement: { ...small.placement, native: waiting } });
    const first = jobOf((await scheduler.submit([wanted], context))[0]);
    // Schedulers tell the time of a submission in whole seconds: two in the same one have no order but that of their ids.
    const second = jobOf((await scheduler.submit([wanted], context))[0]);
    try {
      const found = await findOne(scheduler, wanted.token);
      expect(idsOf(found)).toEqual([first.id, second.id]);
      if (found.state !== "found") throw new Error("not found");
      const statuses = await scheduler.statuses(found.jobs, context);
      expect(statuses.map(({ state }) => state)).toEqual(["queued", "queued"]);
      expect(found.jobs.map(({ token }) => token)).toEqual([wanted.token, wanted.token]);
    } finally {
      await cancelled(given(), first);
      await cancelled(given(), second);
    }
  });
}

function statusTests(given: Given, { history }: SchedulerAbilities): void {
  test("a job from queue to end", async () => {
    const job = await submitted(given(), 'while ! test -e "$PWD/go-$SITEAGENT_NATIVE_ID"; do sleep 0.2; done; exit 0');
    const running = await until(given(), job, "running");
    if (running.since !== undefined) expect(Math.abs(Date.parse(running.since) - Date.now())).toBeLessThan(600_000);
    expect(running.suspended ?? false).toBe(false);
    await mkdir(join(given().workdir, `go-${job.id}`));
    const verdict = await over(given(), job);
    if (history) expect(verdict).toMatchObject({ kind: "completed", exitCode: 0 });
  });

  if (history) {
    test("exit codes as they are", async () => {
      const codes = [0, 1, 3, 120, 255];
      const jobs = await Promise.all(codes.map((code) => submitted(given(), `exit ${code}`)));
      for (const [index, job] of jobs.entries()) {
        const code = codes[index];
        expect(await over(given(), job)).toMatchObject({ kind: code === 0 ? "completed" : "failed", exitCode: code });
      }
    });

    test("death by a signal is no success", async () => {
      const verdict = await over(given(), await submitted(given(), "kill -KILL $$"));
      expect(verdict?.kind).toBe("failed");
      if (verdict?.signal === undefined) expect([137, 265]).toContain(verdict?.exitCode);
      else expect(verdict.signal).toBe("SIGKILL");
    });
  }

  test("what never was is absent, and hides nothing of the others", async () => {
    const { scheduler, neverUsedId } = given();
    const running = await submitted(given(), "sleep 600");
    try {
      await until(given(), running, "running");
      const never = { id: neverUsedId, token: newToken(), submittedAt: minutesAgo(1) };
      const statuses = await scheduler.statuses([never, running, never], context);
      expect(statuses.map(({ state }) => state)).toEqual(["absent", "running", "absent"]);
      expect(await scheduler.statuses([never], context)).toEqual([{ state: "absent" }]);
      expect(await scheduler.statuses([], context)).toEqual([]);
    } finally {
      await cancelled(given(), running);
    }
  });

  test("E13: another job that has our number now is not ours, and is not cancelled for it", async () => {
    const { scheduler } = given();
    const theirs = await submitted(given(), "sleep 600");
    try {
      await until(given(), theirs, "running");
      const ours = { ...theirs, token: newToken() };
      expect(await scheduler.statuses([ours], context)).toEqual([{ state: "absent" }]);
      const later = { ...theirs, submittedAt: new Date(Date.now() + 7 * 86_400_000).toISOString() };
      expect(await scheduler.statuses([later], context)).toEqual([{ state: "absent" }]);
      expect((await orderOne(scheduler.cancel([ours], context))).state).not.toBe("requested");
      expect((await statusOne(scheduler, theirs)).state).toBe("running");
    } finally {
      await cancelled(given(), theirs);
    }
  });
}

function cancelTests(given: Given): void {
  test("a running job, and its processes are gone", async () => {
    const job = await submitted(given(), 'touch "$PWD/up-$SITEAGENT_NATIVE_ID"; sleep 600');
    await until(given(), job, "running");
    await cancelled(given(), job);
  });

  test("a job that waits", async () => {
    const { small, waiting } = given();
    const job = await submitted(given(), "exit 0", { placement: { ...small.placement, native: waiting } });
    expect((await statusOne(given().scheduler, job)).state).toBe("queued");
    await cancelled(given(), job);
  });

  test("nothing twice: what is over is said to be over", async () => {
    const { scheduler, neverUsedId } = given();
    const job = await submitted(given(), "exit 0");
    await over(given(), job);
    const never = { id: neverUsedId, token: newToken(), submittedAt: minutesAgo(1) };
    const results = await scheduler.cancel([job, never], context);
    expect(results.map(({ state }) => state)).toEqual(["over", "over"]);
    expect(await scheduler.cancel([], context)).toEqual([]);
  });

  test("one of several, in order, and the others go on", async () => {
    const { scheduler, neverUsedId } = given();
    const first = await submitted(given(), "sleep 600");
    const second = await submitted(given(), "sleep 600");
    try {
      const never = { id: neverUsedId, token: newToken(), submittedAt: minutesAgo(1) };
      const results = await scheduler.cancel([never, second], context);
      expect(results.map(({ state }) => state)).toEqual(["over", "requested"]);
      await over(given(), second);
      expect(["queued", "running"]).toContain((await statusOne(scheduler, first)).state);
    } finally {
      await cancelled(given(), first);
    }
  });

  test("an id that is none reaches no command", async () => {
    const { scheduler } = given();
    const bystander = await submitted(given(), "sleep 600");
    try {
      for (const id of ["", "all", "0", "-9", "--user=root", "1,2", "1 2", "*", "1;rm -rf /"]) {
        const wrong = { id, token: newToken(), submittedAt: minutesAgo(1) };
        expect((await orderOne(scheduler.cancel([wrong], context))).state).not.toBe("requested");
      }
      expect(["queued", "running"]).toContain((await statusOne(scheduler, bystander)).state);
    } finally {
      await cancelled(given(), bystander);
    }
  });
}

function holdTests(given: Given): void {
  test("a job that waits, says that it is stuck, and lets it go again", async () => {
    const { scheduler, small, waiting } = given();
    const job = await submitted(given(), "exit 0", { placement: { ...small.placement, native: waiting } });
    try {
      expect((await until(given(), job, "queued")).stuck ?? false).toBe(false);
      expect(await orderOne(scheduler.hold([job], context))).toEqual({ state: "requested" });
      const held = await waitFor(
        async () => {
          const status = await until(given(), job, "queued");
          return status.stuck === true ? status : undefined;
        },
        { what: "the hold", timeoutMs: patienceMs },
      );
      expect(held.reason).toMatch(/\w/);
      expect(await orderOne(scheduler.release([job], context))).toEqual({ state: "requested" });
      await waitFor(async () => (await until(given(), job, "queued")).stuck !== true, {
        what: "the release",
        timeoutMs: patienceMs,
      });
    } finally {
      await cancelled(given(), job);
    }
  });

  test("what it does not know is over, in order", async () => {
    const { scheduler, neverUsedId } = given();
    const never = { id: neverUsedId, token: newToken(), submittedAt: minutesAgo(1) };
    expect(await scheduler.hold([never], context)).toEqual([{ state: "over" }]);
    expect(await scheduler.release([never], context)).toEqual([{ state: "over" }]);
  });
}

function arrayTests(given: Given): void {
  test("each task has its own end, and its index", async () => {
    const { scheduler, workdir } = given();
    expect(scheduler.capabilities.mostTasks).toBeGreaterThanOrEqual(4);
    const parent = await submitted(
      given(),
      'mkdir "$PWD/task-$SITEAGENT_NATIVE_ID-$SITEAGENT_TASK"; exit $SITEAGENT_TASK',
      {
        tasks: 4,
      },
    );
    const found = await findOne(scheduler, parent.token);
    expect(idsOf(found)).toEqual([parent.id]);
    const ends = await Promise.all([0, 1, 2, 3].map((task) => over(given(), { ...parent, task })));
    const made = await Promise.all([0, 1, 2, 3].map((task) => stat(join(workdir, `task-${parent.id}-${task}`))));
    expect(made.map((entry) => entry.isDirectory())).toEqual([true, true, true, true]);
    if (!ends.some((end) => end === undefined)) expect(ends.map((end) => end?.exitCode)).toEqual([0, 1, 2, 3]);
    const outside = await statusOne(scheduler, { ...parent, task: 4 });
    expect(outside).toEqual({ state: "absent" });
  });

  test("one task is cancelled, the others go on, the parent takes the rest", async () => {
    const parent = await submitted(given(), "sleep 600", { tasks: 3 });
    const tasks = [0, 1, 2].map((task) => ({ ...parent, task }));
    const [first, second, third] = tasks as [ScheduledJob, ScheduledJob, ScheduledJob];
    try {
      await cancelled(given(), second);
      const others = await given().scheduler.statuses([first, third], context);
      for (const status of others) expect(["queued", "running"]).toContain(status.state);
    } finally {
      await given().scheduler.cancel([parent], context);
    }
    await over(given(), first);
    await over(given(), third);
  });
}

function outageTests(given: Given, { history }: SchedulerAbilities): void {
  test("E4: nothing is known meanwhile, nothing is said to have ended, and afterwards all is right", async () => {
    const { scheduler, outage } = given();
    if (outage === undefined) return;
    const running = await submitted(given(), "sleep 600");
    const short = await submitted(
      given(),
      'while ! test -e "$PWD/on-$SITEAGENT_NATIVE_ID"; do sleep 0.2; done; exit 9',
    );
    await until(given(), running, "running");
    await until(given(), short, "running");
    const late = request(given(), "exit 0");
    {
      await using _outage = await outage();
      await mkdir(join(given().workdir, `on-${short.id}`));
      // Together: each takes as long as its command tries to reach the scheduler.
      const [statuses, found, cancelling, submitting, probe] = await Promise.all([
        scheduler.statuses([running, short], context),
        findOne(scheduler, running.token),
        orderOne(scheduler.cancel([running], context)),
        scheduler.submit([late], context),
        scheduler.probe(context),
      ]);
      expect(statuses.map(({ state }) => state)).toEqual(["unknown", "unknown"]);
      expect(found.state).toBe("unknown");
      expect(cancelling.state).toBe("unknown");
      expect(submitting[0]?.state).toBe("unclear");
      expect(probe).toMatchObject({ ok: false, reason: expect.stringMatching(/\w/) });
    }
    const verdict = await over(given(), short);
    if (history) expect(verdict).toMatchObject({ kind: "failed", exitCode: 9 });
    const found = await waitFor(
      async () => {
        const result = await findOne(scheduler, late.token);
        return result.state === "unknown" ? undefined : result;
      },
      { what: "an answer about the late submission", timeoutMs: patienceMs },
    );
    expect(found.state).toBe("absent");
    await cancelled(given(), running);
  });
}

function request(harness: SchedulerHarness, body: string, more: Partial<SubmitRequest> = {}): SubmitRequest {
  const token = more.token ?? newToken();
  const log = logOf(harness, token);
  return { token, tasks: 1, ...harness.small, directory: harness.workdir, log, body, ...more };
}

function logOf(harness: SchedulerHarness, token: Token): string {
  return join(harness.workdir, `${token}.log`);
}

async function submitted(
  harness: SchedulerHarness,
  body: string,
  more: Partial<SubmitRequest> = {},
): Promise<ScheduledJob> {
  const before = Date.now();
  const job = jobOf((await harness.scheduler.submit([request(harness, body, more)], context))[0]);
  expect(job.task).toBeUndefined();
  expect(Date.parse(job.submittedAt)).toBeGreaterThanOrEqual(before - 1_000);
  return job;
}

function jobOf(result: SubmitResult | undefined): ScheduledJob {
  if (result?.state !== "submitted") throw new Error(`not submitted: ${JSON.stringify(result)}`);
  return result.job;
}

async function statusOne(scheduler: Scheduler, job: ScheduledJob): Promise<ScheduledStatus> {
  const statuses = await scheduler.statuses([job], context);
  expect(statuses).toHaveLength(1);
  const [status] = statuses;
  if (!status) throw new Error("no status");
  return status;
}

async function until<State extends ScheduledStatus["state"]>(
  harness: SchedulerHarness,
  job: ScheduledJob,
  state: State,
): Promise<Extract<ScheduledStatus, { state: State }>> {
  let last: ScheduledStatus | undefined;
  return await waitFor(
    async () => {
      last = await statusOne(harness.scheduler, job);
      return last.state === state ? (last as Extract<ScheduledStatus, { state: State }>) : undefined;
    },
    { what: () => `${state}; last: ${JSON.stringify(last)}`, timeoutMs: patienceMs, intervalMs: 150 },
  );
}

/** Waits for its end; its verdict, or undefined where it is gone without one (only without history, or when it never began). */
async function over(harness: SchedulerHarness, job: ScheduledJob): Promise<Verdict | undefined> {
  let last: ScheduledStatus | undefined;
  const status = await waitFor(
    async () => {
      last = await statusOne(harness.scheduler, job);
      return last.state === "ended" || last.state === "absent" ? last : undefined;
    },
    { what: () => `the end; last: ${JSON.stringify(last)}`, timeoutMs: patienceMs, intervalMs: 150 },
  );
  return status.state === "ended" ? status.verdict : undefined;
}

/** Cancels it and waits for its end. */
async function cancelled(harness: SchedulerHarness, job: ScheduledJob): Promise<void> {
  expect(await orderOne(harness.scheduler.cancel([job], context))).toEqual({ state: "requested" });
  const verdict = await over(harness, job);
  if (verdict) expect(verdict.kind).toBe("cancelled");
}

async function orderOne(results: Promise<readonly OrderResult[]>): Promise<OrderResult> {
  const [result, ...more] = await results;
  expect(more).toEqual([]);
  if (!result) throw new Error("no result");
  return result;
}

async function findOne(scheduler: Scheduler, token: Token): Promise<FindResult> {
  const [result] = await scheduler.find([{ token, since: minutesAgo(10) }], context);
  if (!result) throw new Error("no result");
  return result;
}

function idsOf(result: FindResult | undefined): readonly string[] {
  if (result?.state !== "found") throw new Error(`not found: ${JSON.stringify(result)}`);
  for (const job of result.jobs) expect(job.task).toBeUndefined();
  return result.jobs.map(({ id }) => id);
}

function endsWith(text: string, end: string): string | undefined {
  return text.endsWith(end) ? text : undefined;
}

function minutesAgo(minutes: number): string {
  return new Date(Date.now() - minutes * 60_000).toISOString();
}
