/** Faults between us and a scheduler, by a scheduler in this process that shows them; what real ones show is in test/integration/schedulers. */
import { readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { LocalHost } from "../../../src/hosts/local/index.ts";
import { withdraw } from "../../../src/launchers/batch/places.ts";
import type { AttemptPlan, AttemptRef, AttemptStatus } from "../../../src/launchers/types.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { waitFor } from "../../helpers/wait.ts";
import { context, launchOne, makePlan, readOut, statusNow, stopped, untilState } from "./attempts.ts";
import { type BatchHarness, batchHarness, count, counting, jobOf, letGo } from "./batch-harness.ts";

failOnLeakedProcesses();

let harness: BatchHarness;
beforeAll(async () => {
  harness = await batchHarness();
});
afterAll(async () => {
  await harness[Symbol.asyncDispose]();
});

const plan = (script: string, extra?: Partial<AttemptPlan>): Promise<AttemptPlan> =>
  makePlan(harness.root, script, extra);

function jobId(ref: AttemptRef): string {
  return jobOf(ref).id;
}

/** Asks for it until it is accepted, as the agent does after an unclear answer: `find` first. */
async function untilAccepted(it: AttemptPlan): Promise<AttemptRef> {
  return await waitFor(
    async () => {
      const [handle] = await harness.launcher.find([it], context).catch(() => ["unknown"] as const);
      if (handle === "unknown") return undefined;
      if (handle) return { token: it.token, directory: it.directory, handle };
      const [result] = await harness.launcher.launch([it], context);
      return result?.state === "accepted" ? { ...it, handle: result.handle } : undefined;
    },
    { what: "the acceptance", timeoutMs: 30_000 },
  );
}

/** What the scheduler says of a job from now on, until disposed. */
function says(ref: AttemptRef, status: Parameters<BatchHarness["scheduler"]["faults"]["says"]["set"]>[1]): Disposable {
  const id = jobId(ref);
  harness.scheduler.faults.says.set(id, status);
  return { [Symbol.dispose]: () => void harness.scheduler.faults.says.delete(id) };
}

function down(): Disposable {
  harness.scheduler.faults.down = true;
  return {
    [Symbol.dispose]: () => {
      harness.scheduler.faults.down = false;
    },
  };
}

/** An attempt that runs until `go` is made in its work directory. */
async function held(): Promise<{ ref: AttemptRef; it: AttemptPlan; go: (code?: number) => Promise<void> }> {
  const it = await plan('echo up; while ! test -e go; do sleep 0.05; done; exit "$(cat go)"');
  const ref = await launchOne(harness.launcher, it);
  await untilState(harness.launcher, ref, "running");
  await waitFor(async () => (await readOut(it).catch(() => "")).includes("up"), { what: "the command" });
  return { ref, it, go: (code = 0) => letGo(it, code) };
}

describe("a submission without a clear answer", () => {
  test("E1: that was accepted is found and adopted, not repeated", async () => {
    const it = await plan(counting);
    harness.scheduler.faults.submit = ["unseen"];
    const [result] = await harness.launcher.launch([it], context);
    expect(result).toMatchObject({ state: "unknown" });
    const ref = await untilAccepted(it);
    await untilState(harness.launcher, ref, "ended");
    expect(harness.scheduler.requests.filter(({ token }) => token === it.token)).toHaveLength(1);
    expect(await count(it)).toBe(1);
  });

  test("E1, E3: that was lost is submitted again only after the scheduler did not show it twice and long enough", async () => {
    const it = await plan(counting);
    harness.scheduler.faults.submit = ["lost"];
    await harness.launcher.launch([it], context);
    const begun = performance.now();
    expect(await harness.launcher.launch([it], context)).toMatchObject([{ state: "unknown" }]);
    expect(await harness.launcher.launch([it], context)).toMatchObject([{ state: "unknown" }]);
    // Nobody need come again for the second look, however often the agent was killed before it.
    expect(await harness.launcher.find([it], context)).toEqual([undefined]);
    const ref = await untilAccepted(it);
    expect(performance.now() - begun).toBeGreaterThan(3_000);
    expect(await untilState(harness.launcher, ref, "ended")).toMatchObject({ end: { exit_code: 0 } });
    expect(harness.scheduler.requests.filter(({ token }) => token === it.token)).toHaveLength(2);
    expect(await count(it)).toBe(1);
  });

  test("E1: is not repeated while the scheduler cannot be asked", async () => {
    const it = await plan(counting);
    harness.scheduler.faults.submit = ["unseen"];
    await harness.launcher.launch([it], context);
    {
      using _ = down();
      await expect(harness.launcher.find([it], context)).rejects.toMatchObject({ code: "UNREACHABLE" });
      expect(await harness.launcher.launch([it], context)).toMatchObject([{ state: "unknown" }]);
    }
    await untilState(harness.launcher, await untilAccepted(it), "ended");
    expect(await count(it)).toBe(1);
  });

  test("E1: two scheduler jobs of one attempt: the older is followed, the other cancelled, and the command starts once", async () => {
    const it = await plan(counting);
    harness.scheduler.faults.full = true;
    harness.scheduler.faults.submit = ["unseen"];
    await harness.launcher.launch([it], context);
    await rm(join(it.directory, "submission")); // as if it had been lost with the machine
    await harness.launcher.launch([it], context);
    const restarted = harness.reopen();
    const [handle] = await restarted.find([it], context);
    harness.scheduler.open();
    expect(harness.scheduler.cancelled.map(({ token }) => token)).toContain(it.token);
    await untilState(restarted, { ...it, handle }, "ended");
    expect(await count(it)).toBe(1);
  });

  test("a damaged note of the submission is no answer, and nothing is submitted again", async () => {
    const it = await plan(counting);
    await writeFile(join(it.directory, "submission"), '{"v":1,"tok');
    await expect(harness.launcher.find([it], context)).rejects.toMatchObject({ code: "RUNNER" });
    await expect(harness.launcher.launch([it], context)).rejects.toMatchObject({ code: "RUNNER" });
    expect(harness.scheduler.requests.some(({ token }) => token === it.token)).toBe(false);
  });
});

describe("a refused submission", () => {
  test("E16: a limit is waited out, a wrong request fails in the scheduler's words", async () => {
    const it = await plan(counting);
    harness.scheduler.faults.submit = [{ limited: "QOSMaxSubmitJobPerUserLimit" }];
    expect(await harness.launcher.launch([it], context)).toEqual([
      { state: "busy", reason: "QOSMaxSubmitJobPerUserLimit" },
    ]);
    await untilState(harness.launcher, await launchOne(harness.launcher, it), "ended");
    const wrong = await plan(counting);
    harness.scheduler.faults.submit = [{ rejected: "Invalid account or account/partition combination specified" }];
    const [refused] = await harness.launcher.launch([wrong], context);
    expect(refused).toMatchObject({
      state: "refused",
      end: { cause: "launch", message: expect.stringContaining("Invalid account") },
    });
  });
});

describe("a scheduler that cannot be asked", () => {
  test("E4: changes nothing, and the end is found when it answers again", async () => {
    const { ref, go } = await held();
    {
      using _ = down();
      await go();
      for (let look = 0; look < 5; look++) expect((await statusNow(harness.launcher, ref)).state).not.toBe("ended");
    }
    expect(await untilState(harness.launcher, ref, "ended")).toMatchObject({
      end: { cause: "exit", exit_code: 0, evidence: "rc" },
    });
  });

  test("E7: a recorded success is believed after a while without the scheduler; anything else waits for it", async () => {
    const [good, bad] = [await held(), await held()];
    const outage = down();
    try {
      await good.go();
      await bad.go(3);
      const { end } = await untilState(harness.launcher, good.ref, "ended");
      expect(end).toMatchObject({ cause: "exit", exit_code: 0 });
      expect(end.message).toContain("could not be asked");
      expect((await statusNow(harness.launcher, bad.ref)).state).toBe("running");
    } finally {
      outage[Symbol.dispose]();
    }
    expect(await untilState(harness.launcher, bad.ref, "ended")).toMatchObject({ end: { exit_code: 3 } });
  });
});

describe("absence", () => {
  test("E5: an empty queue and history end nothing that runs", async () => {
    const { ref, it, go } = await held();
    harness.scheduler.faults.forgotten.add(jobId(ref));
    const until = performance.now() + 1_500;
    while (performance.now() < until) expect((await statusNow(harness.launcher, ref)).state).not.toBe("ended");
    harness.scheduler.faults.forgotten.delete(jobId(ref));
    await go();
    expect(await untilState(harness.launcher, ref, "ended")).toMatchObject({ end: { exit_code: 0 } });
    expect(await readOut(it)).toBe("up\n");
  });

  test("E7: purged from queue and history: the exit record tells", async () => {
    const { ref, go } = await held();
    await go();
    harness.scheduler.faults.forgotten.add(jobId(ref));
    expect(await untilState(harness.launcher, ref, "ended")).toMatchObject({ end: { cause: "exit", exit_code: 0 } });
  });

  test("lost for long: status-lost, and a late start under the token is refused by its guard", async () => {
    const it = await plan(counting);
    harness.scheduler.faults.full = true;
    const ref = await launchOne(harness.launcher, it);
    harness.scheduler.faults.forgotten.add(jobId(ref));
    const { end } = await untilState(harness.launcher, ref, "ended");
    expect(end).toMatchObject({ cause: "status-lost", message: expect.stringContaining("it never started") });
    harness.scheduler.open();
    await waitFor(() => exists(join(it.directory, "batch.log")), { what: "the late start" });
    await harness.scheduler[Symbol.asyncDispose]();
    await expect(stat(join(it.workDirectory, "..", "count"))).rejects.toThrow("ENOENT");
  });
});

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

describe("verdicts against an exit record of 0", () => {
  test.each([
    ["oom", "oom", "OUT_OF_MEMORY 0:125"],
    ["timeout", "timeout", "TIMEOUT 0:15"],
    ["node", "node", "NODE_FAIL 0:0"],
    ["preempted", "infrastructure", "PREEMPTED 0:0"],
    ["failed", "status-lost", "FAILED 0:53"],
    ["limit", "signal", "DEADLINE 0:0"],
  ] as const)("E11: %s is no success: %s", async (kind, cause, raw) => {
    const { ref, go } = await held();
    using _ = says(ref, { state: "ended", verdict: { kind, raw, source: "accounting" } });
    await go();
    const { end } = await untilState(harness.launcher, ref, "ended");
    expect(end.cause).toBe(cause);
    expect(end.message).toContain(raw);
  });
});

describe("ends", () => {
  test("E6, E21: seen only as over, at once and with the command's own times", async () => {
    const it = await plan(counting);
    harness.scheduler.faults.full = true;
    const ref = await launchOne(harness.launcher, it);
    expect((await untilState(harness.launcher, ref, "queued")).reason).toBe("Resources");
    const before = Date.now();
    harness.scheduler.open();
    await waitFor(() => exists(join(ref.directory, "rc")), { what: "the exit record, at which nobody looks yet" });
    const after = Date.now();
    await waitFor(() => Date.now() > after + 20, { what: "time to pass" });
    const { end } = await untilState(harness.launcher, ref, "ended");
    expect(end).toMatchObject({ cause: "exit", exit_code: 0 });
    const [started, ended] = [Date.parse(end.started_at ?? ""), Date.parse(end.ended_at)];
    // Where the shell is all there is, times are whole seconds.
    expect(started).toBeGreaterThanOrEqual(Math.floor(before / 1000) * 1000);
    expect(ended).toBeGreaterThanOrEqual(started);
    expect(ended).toBeLessThanOrEqual(after);
  });

  test("E8: accounting that still says running is waited for", async () => {
    const { ref, go } = await held();
    const lagging = says(ref, { state: "running" });
    await go();
    await waitFor(() => exists(join(ref.directory, "rc")), { what: "the exit record" });
    const until = performance.now() + 2_500;
    while (performance.now() < until) expect((await statusNow(harness.launcher, ref)).state).toBe("running");
    lagging[Symbol.dispose]();
    await untilState(harness.launcher, ref, "ended");
  });

  test("E14: a cancel behind our back is told as such, with who did it", async () => {
    const { ref } = await held();
    harness.scheduler.end(jobId(ref), undefined, { kind: "cancelled", by: "1234", raw: "CANCELLED by 1234" });
    const { end } = await untilState(harness.launcher, ref, "ended");
    expect(end).toMatchObject({ cause: "cancelled", message: expect.stringContaining("outside of siteagent by 1234") });
  });

  test("E15: what will not start by itself says so, with the reason", async () => {
    const it = await plan(counting);
    harness.scheduler.faults.full = true;
    const ref = await launchOne(harness.launcher, it);
    using _ = says(ref, { state: "queued", reason: "DependencyNeverSatisfied", stuck: true });
    const reasons = async (): Promise<string | undefined> => {
      const status: AttemptStatus = await statusNow(harness.launcher, ref);
      return status.state === "queued" ? status.reason : undefined;
    };
    const reason = await waitFor(async () => ((await reasons())?.includes("Never") ? reasons() : undefined), {
      what: "the reason",
    });
    expect(reason).toContain("it will not start by itself");
    _[Symbol.dispose]();
    await stopped(harness.launcher, ref);
    harness.scheduler.open();
  });

  test("E15: what waits longer than the target's limit is taken out, ends with the reason and never starts", async () => {
    await using limited = await batchHarness({ queueLimitMs: 1_000 });
    const it = await makePlan(limited.root, counting);
    limited.scheduler.faults.full = true;
    const ref = await launchOne(limited.launcher, it);
    limited.scheduler.faults.says.set(jobId(ref), { state: "queued", reason: "JobHeldAdmin", stuck: true });
    // An agent that comes later counts from the submission, too.
    const restarted = limited.reopen();
    await waitFor(
      async () => {
        await statusNow(restarted, ref);
        return limited.scheduler.cancelled.some(({ token }) => token === it.token);
      },
      { what: "the cancel" },
    );
    limited.scheduler.faults.says.clear();
    const { end } = await untilState(limited.reopen(), ref, "ended");
    expect(end.cause).toBe("launch");
    expect(end.message).toContain("queue_limit (1s); the scheduler said: JobHeldAdmin");
    limited.scheduler.open();
    limited.scheduler.startAgain(jobId(ref));
    await waitFor(() => exists(join(it.directory, "batch.log")), { what: "a start behind our back" });
    await limited.scheduler[Symbol.asyncDispose]();
    await expect(stat(join(it.workDirectory, "..", "count"))).rejects.toThrow("ENOENT");
  });

  test("E15: what began in the very moment of being taken out goes on", async () => {
    await using limited = await batchHarness({ queueLimitMs: 1 });
    const it = await makePlan(limited.root, "while ! test -e go; do sleep 0.05; done");
    const ref = await launchOne(limited.launcher, it);
    await waitFor(() => exists(join(it.directory, "recorder")), { what: "the recorder" });
    // The scheduler's last answer is older than that; and so is our last look at the directory.
    expect(
      await withdraw(new LocalHost({ name: "here", workdir: limited.root }), it.directory, "too long", context),
    ).toBe(false);
    await letGo(it, 0);
    expect(await untilState(limited.launcher, ref, "ended")).toMatchObject({ end: { cause: "exit", exit_code: 0 } });
    expect(limited.scheduler.cancelled).toEqual([]);
  });

  const completed = {
    state: "ended",
    verdict: { kind: "completed", exitCode: 0, raw: "COMPLETED 0:0", source: "accounting" },
  } as const;
  const unrecorded = "kill -KILL $PPID; sleep 60";

  test("E22: completed by the scheduler, and no exit record: no success", async () => {
    const it = await plan(unrecorded);
    const ref = await launchOne(harness.launcher, it);
    using _ = says(ref, completed);
    const { end } = await untilState(harness.launcher, ref, "ended");
    expect(end).toMatchObject({ cause: "status-lost", message: expect.stringContaining("not taken for success") });
    expect(end.message).toContain("COMPLETED 0:0");
    expect(end.message).toContain("no exit record");
  });

  test("E22: is one where the site trusts its accounting, once the record had its time; but not of a command that never began", async () => {
    await using trusting = await batchHarness({ trustsAccounting: true });
    const it = await makePlan(trusting.root, unrecorded);
    const ref = await launchOne(trusting.launcher, it);
    await waitFor(() => exists(join(it.directory, "recorder")), { what: "the recorder" });
    trusting.scheduler.faults.says.set(jobId(ref), completed);
    const said = performance.now();
    const { end } = await untilState(trusting.launcher, ref, "ended");
    expect(performance.now() - said).toBeGreaterThan(1_400);
    expect(end).toMatchObject({ cause: "exit", exit_code: 0, evidence: "accounting" });
    expect(end.message).toContain("trust_accounting");
    trusting.scheduler.faults.full = true;
    const never = await launchOne(trusting.launcher, await makePlan(trusting.root, "exit 0"));
    trusting.scheduler.faults.says.set(jobId(never), completed);
    expect(await untilState(trusting.launcher, never, "ended")).toMatchObject({ end: { cause: "status-lost" } });
  });

  test("a record that shows late on the file system is waited for", async () => {
    const { ref, it, go } = await held();
    // The directory as a node's writes show it to the login node for some seconds: without its newest file.
    await go();
    await waitFor(() => exists(join(it.directory, "rc")), { what: "the exit record" });
    const record = await readFile(join(it.directory, "rc"));
    await rm(join(it.directory, "rc"));
    const restarted = harness.reopen();
    expect((await statusNow(restarted, ref)).state).toBe("running");
    await writeFile(join(it.directory, "rc"), record);
    expect(await untilState(restarted, ref, "ended")).toMatchObject({ end: { cause: "exit", exit_code: 0 } });
  });
});

describe("a job that the site begins again", () => {
  test("E12: its guard lets nothing run twice, and the end is the infrastructure's", async () => {
    const it = await plan('echo started >> ../count; kill -KILL "$PPID"; sleep 60');
    const ref = await launchOne(harness.launcher, it);
    // From the beginning, and until it runs again: nobody is to see it ended in between.
    using lost = says(ref, { state: "queued", reason: "BeginTime", restarts: 1 });
    await waitFor(() => exists(join(it.workDirectory, "..", "count")), { what: "the first run" });
    expect((await statusNow(harness.launcher, ref)).state).not.toBe("ended");
    harness.scheduler.startAgain(jobId(ref));
    lost[Symbol.dispose]();
    const { end } = await untilState(harness.launcher, ref, "ended");
    expect(end.cause).toBe("infrastructure");
    expect(await count(it)).toBe(1);
  });
});

test("what a queue never gives is refused before anything is submitted, all of it at once", async () => {
  await using small = await batchHarness({ limits: { nodes: 1, cores: 2, walltimeMs: 60_000 } });
  const resources = { nodes: 2, ranks_per_node: 1, threads_per_rank: 1, cores: 4, gpus: 0 };
  const large = await makePlan(small.root, "exit 0", { resources, limitMs: 50_000, graceMs: 20_000 });
  const fitting = await makePlan(small.root, "exit 0", { limitMs: 50_000, graceMs: 10_000 });
  const [refused, accepted] = await small.launcher.launch([large, fitting], context);
  expect(refused).toMatchObject({ state: "refused", end: { cause: "launch" } });
  expect(refused?.state === "refused" && refused.end.message).toMatch(
    /'2' nodes are more .*; allowed: at most 1; '8' cores on 2 nodes are more .*; 50s and the grace of 20s are longer/,
  );
  expect(accepted?.state).toBe("accepted");
  expect(small.scheduler.requests.map(({ token }) => token)).toEqual([fitting.token]);
  const handle = accepted?.state === "accepted" ? accepted.handle : undefined;
  await untilState(small.launcher, { token: fitting.token, directory: fitting.directory, handle }, "ended");
});

describe("the queue", () => {
  test("asks once for all in an interval, and not at all when nobody asks", async () => {
    await using calm = await batchHarness();
    const plans = await Promise.all(Array.from({ length: 20 }, () => makePlan(calm.root, "sleep 60")));
    const refs = await Promise.all(plans.map((it) => launchOne(calm.launcher, it)));
    for (const ref of refs) await untilState(calm.launcher, ref, "running");
    const [queries, begun] = [calm.scheduler.queries, performance.now()];
    for (let look = 0; look < 50; look++) await calm.launcher.statuses(refs, context);
    const intervals = (performance.now() - begun) / 100;
    expect(calm.scheduler.queries - queries).toBeLessThanOrEqual(intervals + 1);
    // One by one, as agents do it for many jobs that somebody cancels.
    const cancels = vi.spyOn(calm.scheduler, "cancel");
    await Promise.all(refs.map((ref) => calm.launcher.stop([ref], { graceMs: 100, reason: "test" }, context)));
    expect(cancels.mock.calls.length).toBeLessThan(refs.length / 2);
    expect(calm.scheduler.cancelled).toHaveLength(refs.length);
    for (const ref of refs) await stopped(calm.launcher, ref);
  });
});
