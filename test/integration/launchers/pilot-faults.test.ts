/** What can befall allocations and the agent while attempts are packed into them. */
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Fault } from "../../../src/common/fault.ts";
import type { Host } from "../../../src/hosts/types.ts";
import type { AttemptRef } from "../../../src/launchers/types.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { waitFor } from "../../helpers/wait.ts";
import { context, launchOne, makePlan, statusNow, stopped, untilState } from "./attempts.ts";
import { ends, kill, node, once, processes, running, starts, withFiles } from "./pilot-attempts.ts";
import { pilotHarness } from "./pilot-harness.ts";

failOnLeakedProcesses();

const preempted = { kind: "preempted", raw: "PREEMPTED" } as const;

/** Seconds that a node said it has left. */
async function lastBeat(directory: string): Promise<number> {
  const beats = (await readFile(join(directory, "events-1"), "utf8")).match(/^beat \d+ \d+/gm) ?? [];
  return Number(beats.at(-1)?.split(" ")[2] ?? Infinity);
}

/** Waits until its allocation has no more than so many seconds. */
async function untilLeft(ref: AttemptRef, seconds: number): Promise<void> {
  const [allocation = ""] = (await readFile(join(ref.directory, "allocation"), "utf8")).split("\n");
  await waitFor(async () => (await lastBeat(allocation)) <= seconds, { what: "the time to pass" });
}
describe("the agent", () => {
  it("that starts anew takes its allocations over, and asks for no other", async () => {
    await using harness = await pilotHarness({ node });
    const first = await running(harness, `${once}sleep 60`);
    const second = await running(harness, "until [ -e ../go ]; do sleep 0.05; done; exit 7");
    const waiting = await makePlan(harness.root, once);
    await launchOne(harness.launcher, waiting);
    const anew = harness.reopen();
    // What had not been handed over is launched again by who has its plan.
    expect(await anew.find([first, second, waiting], context)).toEqual([
      expect.anything(),
      expect.anything(),
      undefined,
    ]);
    await launchOne(anew, waiting);
    await stopped(anew, first);
    expect(await ends(anew, first)).toMatchObject({ cause: "cancelled" });
    expect(await ends(anew, waiting)).toMatchObject({ cause: "exit", exit_code: 0 });
    await stopped(anew, second);
    expect([await starts(first), await starts(waiting)]).toEqual([1, 1]);
    expect(harness.scheduler.requests).toHaveLength(1);
  });

  it("E1: finds an allocation whose submission had no clear answer, and asks again for one that was not accepted", async () => {
    await using harness = await pilotHarness({ node });
    harness.scheduler.faults.submit.push("unseen");
    const first = await running(harness, "sleep 60");
    expect(harness.scheduler.requests).toHaveLength(1);
    await stopped(harness.launcher, first);
    await using other = await pilotHarness({ node });
    other.scheduler.faults.submit.push("lost");
    const ref = await launchOne(other.launcher, await makePlan(other.root, once));
    expect(await ends(other.launcher, ref)).toMatchObject({ exit_code: 0 });
    expect(other.scheduler.requests).toHaveLength(2);
    expect(await starts(ref)).toBe(1);
  });

  it("knows nothing while the shared file system cannot be read, and goes on when it can", async () => {
    let broken = false;
    await using harness = await pilotHarness({ node }, (host) => unreadable(host, () => broken));
    const ref = await running(harness, "sleep 60");
    const anew = harness.reopen();
    broken = true;
    await waitFor(async () => (await statusNow(anew, ref)).state === "unknown", { what: "unknown" });
    expect(await statusNow(harness.launcher, ref)).not.toMatchObject({ state: "ended" });
    await expect(anew.find([ref], context)).rejects.toThrow(/no answer/);
    broken = false;
    await untilState(anew, ref, "running");
    await stopped(anew, ref);
    expect(harness.scheduler.requests).toHaveLength(1);
  });
});

describe("an allocation", () => {
  it("E11: that is preempted ends its attempts as no try; what it had not begun runs in the next, once", async () => {
    await using harness = await pilotHarness({ node });
    const refs = [
      await running(harness, `${once}sleep 60`),
      await running(harness, `${once}trap '' TERM; sleep 60; sleep 60`),
    ];
    const waiting = await launchOne(harness.launcher, await makePlan(harness.root, once));
    harness.scheduler.end("100", undefined, preempted);
    for (const ref of refs) expect(await ends(harness.launcher, ref)).toMatchObject({ cause: "infrastructure" });
    expect(await ends(harness.launcher, waiting)).toMatchObject({ cause: "exit", exit_code: 0 });
    expect(await Promise.all([...refs, waiting].map(starts))).toEqual([1, 1, 1]);
    expect(harness.scheduler.requests).toHaveLength(2);
  });

  it("E11: that is gone at one blow is lost when the scheduler has proven it, and not before", async () => {
    await using harness = await pilotHarness({ node });
    const ref = await running(harness, "sleep 60");
    harness.scheduler.faults.says.set("100", { state: "running" });
    kill([...processes(harness, "node.pl"), ...processes(harness, "recorder.pl")]);
    await waitFor(() => processes(harness, ".pl").length === 0, { what: "the end of everything" });
    for (let look = 0; look < 10; look++) expect((await statusNow(harness.launcher, ref)).state).toBe("running");
    harness.scheduler.faults.says.clear();
    const status = await untilState(harness.launcher, ref, "ended");
    expect(status).toMatchObject({ end: { cause: "infrastructure" }, remaining: [], tier: "scheduler" });
  });

  it("E11: whose time is over ends what runs in it; an attempt's own limit is its own", async () => {
    await using harness = await pilotHarness({ node, walltimeMs: 6_000, marginMs: 2_000 });
    const own = await running(harness, "sleep 60", { limitMs: 1_000, graceMs: 200 });
    await untilLeft(own, 4);
    const endless = await running(harness, "sleep 60");
    expect(await ends(harness.launcher, own)).toMatchObject({ cause: "timeout" });
    expect(await ends(harness.launcher, endless)).toMatchObject({
      cause: "infrastructure",
      message: "the allocation ended: its time is over",
    });
    expect(await readFile(join(endless.directory, "lost"), "utf8")).toMatch(/^\d+ time\n$/);
    const [refused] = await harness.launcher.launch([await makePlan(harness.root, "", { limitMs: 2_500 })], context);
    expect(refused).toMatchObject({ state: "refused", end: { cause: "launch" } });
  });

  it("E11: is not taken for ever by an attempt without walltime: after one that ended before it, it gets a whole one, and no other", async () => {
    await using harness = await pilotHarness({ node, walltimeMs: 6_000, marginMs: 1_000, startMs: 2_500 });
    const own = await running(harness, "sleep 60", { limitMs: 2_000, graceMs: 200 });
    await untilLeft(own, 3);
    const [before, directory] = ["1", "2"].map((number) => join(harness.root, "job", "attempts", number));
    await mkdir(before ?? "", { recursive: true });
    await mkdir(directory ?? "");
    await writeFile(join(before ?? "", "lost"), "1 time\n");
    const second = {
      ...(await makePlan(harness.root, "sleep 60", { attempt: 2, graceMs: 200 })),
      directory: directory ?? "",
    };
    const ref = await launchOne(harness.launcher, second);
    expect(await ends(harness.launcher, ref)).toMatchObject({
      cause: "timeout",
      message: expect.stringMatching(/^it has no walltime, and did not end within the .* that an allocation has/),
    });
    expect(await readFile(join(own.directory, "allocation"), "utf8")).not.toBe(
      await readFile(join(ref.directory, "allocation"), "utf8"),
    );
  });

  it("that too little time is left in is not given what cannot end in it", async () => {
    const elastic = { min: 0, max: 2, backlog: 1, waitMs: 0 };
    await using harness = await pilotHarness({ node, elastic, walltimeMs: 30_000, marginMs: 2_000 });
    const first = await running(harness, "sleep 60");
    await untilLeft(first, 27);
    const long = await launchOne(harness.launcher, await makePlan(harness.root, once, { limitMs: 25_500 }));
    expect(await ends(harness.launcher, long)).toMatchObject({ exit_code: 0 });
    expect(harness.scheduler.requests).toHaveLength(2);
    expect(await starts(long)).toBe(1);
  });

  it("that nobody needs ends by itself, and the next attempt gets another", async () => {
    await using harness = await pilotHarness({ node, idleMs: 1_000 });
    const ref = await launchOne(harness.launcher, await makePlan(harness.root, "exit 0"));
    await ends(harness.launcher, ref);
    await waitFor(() => processes(harness, "node.pl").length === 0, { what: "its end" });
    const next = await launchOne(harness.launcher, await makePlan(harness.root, "exit 0"));
    expect(await ends(harness.launcher, next)).toMatchObject({ exit_code: 0 });
    expect(harness.scheduler.requests).toHaveLength(2);
  });

  it("whose directory somebody removed ends, too, when it has no work: nobody else would end it", async () => {
    await using harness = await pilotHarness({ node, idleMs: 1_000 });
    const plan = await makePlan(harness.root, "until [ -e ../go ]; do sleep 0.05; done");
    const ref = await launchOne(harness.launcher, plan);
    await untilState(harness.launcher, ref, "running");
    await harness.launcher[Symbol.asyncDispose]();
    await rm(join(harness.root, ".siteagent", "pilots"), { recursive: true, force: true });
    expect(processes(harness, "node.pl")).toHaveLength(1);
    await writeFile(join(plan.workDirectory, "..", "go"), "");
    await waitFor(() => processes(harness, "node.pl").length === 0, { what: "its end" });
  });

  it("is used as soon as it begins, however seldom the scheduler is asked, and replaced however late its end is seen", async () => {
    await using harness = await pilotHarness({
      node,
      idleMs: 1_000,
      lookMs: 1,
      patience: { recordMs: 0, lostMs: 3_000 },
    });
    harness.scheduler.faults.says.set("100", { state: "queued" });
    const first = await launchOne(harness.launcher, await makePlan(harness.root, "exit 0"));
    expect(await ends(harness.launcher, first)).toMatchObject({ exit_code: 0 });
    await waitFor(() => processes(harness, "node.pl").length === 0, { what: "its end" });
    harness.scheduler.faults.says.clear();
    const next = await launchOne(harness.launcher, await makePlan(harness.root, "exit 0"));
    expect(await ends(harness.launcher, next)).toMatchObject({ exit_code: 0 });
  });

  it("is asked for by the backlog, up to the most and no further; fewest are kept without work", async () => {
    const elastic = { min: 1, max: 3, backlog: 1, waitMs: 0 };
    await using harness = await pilotHarness({ node, elastic });
    await harness.launcher.probe(context);
    await waitFor(() => harness.scheduler.requests.length === 1, { what: "the one that is kept" });
    const plans = await Promise.all(Array.from({ length: 9 }, () => makePlan(harness.root, "sleep 60")));
    const refs = await Promise.all(plans.map((plan) => launchOne(harness.launcher, plan)));
    const runningNow = async (): Promise<number> =>
      (await harness.launcher.statuses(refs, context)).filter(({ state }) => state === "running").length;
    await waitFor(async () => (await runningNow()) === 6, { what: "six that run", timeoutMs: 20_000 });
    expect(harness.scheduler.requests).toHaveLength(3);
    await Promise.all(refs.map((ref) => stopped(harness.launcher, ref)));
  });

  it("that is refused is waited for, with the scheduler's words", async () => {
    await using harness = await pilotHarness({ node });
    harness.scheduler.faults.submit.push({ limited: "QOSMaxSubmitJobPerUserLimit" });
    const ref = await launchOne(harness.launcher, await makePlan(harness.root, ""));
    const said = async (): Promise<boolean> =>
      JSON.stringify(await statusNow(harness.launcher, ref)).includes("QOSMaxSubmit");
    await waitFor(said, { what: "the reason" });
    expect(harness.scheduler.requests).toHaveLength(1);
    await stopped(harness.launcher, ref);
  });

  it("E15: that never comes is waited for no longer than the target's limit: the attempt ends with the reason and never starts", async () => {
    await using harness = await pilotHarness({ node, queueLimitMs: 300 });
    harness.scheduler.faults.full = true;
    const plan = await makePlan(harness.root, once);
    const ref = await launchOne(harness.launcher, plan);
    const end = { cause: "launch", message: expect.stringMatching(/queue_limit \(300ms\): waits for/) };
    expect(await ends(harness.launcher, ref)).toMatchObject(end);
    // The agent that comes next has not seen it, and knows from the directory.
    const anew = harness.reopen({ queueLimitMs: undefined });
    expect(await statusNow(anew, ref)).toEqual({ state: "absent" });
    expect(await anew.launch([plan], context)).toMatchObject([{ state: "refused", end }]);
    harness.scheduler.open();
    const next = await launchOne(anew, await makePlan(harness.root, "sleep 60"));
    await untilState(anew, next, "running");
    // What has begun is not limited.
    expect(await statusNow(harness.reopen({ queueLimitMs: 1 }), next)).toMatchObject({ state: "running" });
    expect(await starts(ref)).toBe(0);
    await stopped(anew, next);
  });

  it("that cannot run anything is not asked for over and over, and what its script said is told", async () => {
    await using harness = await pilotHarness({ node, preamble: ["echo no such module >&2; exit 9"] });
    const ref = await launchOne(harness.launcher, await makePlan(harness.root, ""));
    const said = async (): Promise<boolean> =>
      JSON.stringify(await statusNow(harness.launcher, ref)).includes("no such module");
    await waitFor(said, { what: "the reason" });
    expect(harness.scheduler.requests).toHaveLength(1);
    await stopped(harness.launcher, ref);
  });

  it("E12: that the scheduler begins again starts nothing a second time", async () => {
    await using harness = await pilotHarness({ node });
    const ref = await running(harness, `${once}sleep 60`);
    kill([...processes(harness, "node.pl"), ...processes(harness, "recorder.pl")]);
    await waitFor(() => processes(harness, ".pl").length === 0, { what: "the end of the first" });
    harness.scheduler.startAgain("100");
    expect(await ends(harness.launcher, ref)).toMatchObject({ cause: "infrastructure" });
    expect(await starts(ref)).toBe(1);
  });

  it("of two nodes has a node agent on each", async () => {
    const starter = ["/bin/sh", "-c", '"$@" & "$@" & wait', "starter"];
    await using harness = await pilotHarness({ node, nodes: 2, starter });
    const refs = [];
    for (let count = 0; count < 4; count++) refs.push(await running(harness, "sleep 60"));
    expect(processes(harness, "node.pl").filter(({ command }) => !command.startsWith("/bin/sh"))).toHaveLength(2);
    expect(harness.scheduler.requests).toHaveLength(1);
    await Promise.all(refs.map((ref) => stopped(harness.launcher, ref)));
  });
});
/** The host whose files cannot be read while `broken` says so. */
function unreadable(host: Host, broken: () => boolean): Host {
  return withFiles(host, () => {
    if (broken()) throw new Fault("UNREACHABLE", "the file system gives no answer");
  });
}
