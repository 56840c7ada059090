/** Alike attempts that go to a scheduler as one array, and what can befall those. */
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import type { AttemptPlan, AttemptRef } from "../../../src/launchers/types.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { context, makePlan, readOut, statusNow, stopped, untilState } from "./attempts.ts";
import { type BatchHarness, batchHarness, count, counting, letGo } from "./batch-harness.ts";

failOnLeakedProcesses();

describe("arrays", () => {
  test("E23: alike attempts go as one, each with an end of its own, and one is stopped alone", async () => {
    await using arrays = await batchHarness({ arrays: true });
    const scripts = ["exit 0", "exit 3", "sleep 60", "kill -KILL $$", "exit 0"];
    const plans = await Promise.all(scripts.map((script) => makePlan(arrays.root, script)));
    const results = await arrays.launcher.launch(plans, context);
    expect(arrays.scheduler.requests.map(({ tasks }) => tasks)).toEqual([5]);
    const refs = plans.map((it, index) => {
      const result = results[index];
      if (result?.state !== "accepted") throw new Error(`not accepted: ${JSON.stringify(result)}`);
      return { token: it.token, directory: it.directory, handle: result.handle };
    });
    const [first, second, third, fourth, fifth] = refs;
    if (!first || !second || !third || !fourth || !fifth) throw new Error("no attempts");
    expect((await untilState(arrays.launcher, first, "ended")).end).toMatchObject({ cause: "exit", exit_code: 0 });
    expect((await untilState(arrays.launcher, second, "ended")).end).toMatchObject({ exit_code: 3 });
    expect((await untilState(arrays.launcher, fourth, "ended")).end).toMatchObject({ exit_code: 137 });
    expect((await untilState(arrays.launcher, fifth, "ended")).end).toMatchObject({ exit_code: 0 });
    expect((await statusNow(arrays.launcher, third)).state).toBe("running");
    // A restarted agent that lost the handles finds each task by what was written before the submission.
    const restarted = arrays.reopen();
    const [handle] = await restarted.find([{ token: third.token, directory: third.directory }], context);
    expect(handle).toEqual(third.handle);
    await stopped(restarted, { ...third, handle });
    expect((await statusNow(restarted, { ...third, handle })) as object).toMatchObject({ end: { cause: "cancelled" } });
  });
});

describe("an array", () => {
  const notes = async (root: string): Promise<readonly string[]> => {
    const names = await readdir(join(root, ".siteagent", "arrays"));
    return names.filter((name) => !name.endsWith(".log")).map((name) => join(root, ".siteagent", "arrays", name));
  };

  const accepted = async (at: BatchHarness, plans: readonly AttemptPlan[]): Promise<readonly AttemptRef[]> => {
    const results = await at.launcher.launch(plans, context);
    expect(at.scheduler.requests.map(({ tasks }) => tasks)).toEqual([plans.length]);
    return plans.map((it, index) => {
      const result = results[index];
      if (result?.state !== "accepted") throw new Error(`not accepted: ${JSON.stringify(result)}`);
      return { token: it.token, directory: it.directory, handle: result.handle };
    });
  };

  test("E23: is written down together, and each task gets its own plan whole, whatever stands in it", async () => {
    await using arrays = await batchHarness({ arrays: true });
    const words = ["plain", "ä\n#end\n'\"$(false)\\", "0000000001 0000000009 x /tmp\n", ""];
    const plans = await Promise.all(
      words.map((word) => makePlan(arrays.root, "", { argv: ["/usr/bin/printf", "%s|", word] })),
    );
    const refs = await accepted(arrays, plans);
    expect(await notes(arrays.root)).toHaveLength(2);
    for (const [index, ref] of refs.entries()) {
      expect((await untilState(arrays.launcher, ref, "ended")).end).toMatchObject({ exit_code: 0 });
      expect(await readOut(plans[index] ?? ref)).toBe(`${words[index]}|`);
    }
  });

  test("begins tasks although the directory of the first is gone", async () => {
    await using arrays = await batchHarness({ arrays: true });
    const plans = await Promise.all(["exit 0", "exit 4"].map((script) => makePlan(arrays.root, script)));
    arrays.scheduler.faults.full = true;
    const [first, second] = await accepted(arrays, plans);
    if (!first || !second) throw new Error("no attempts");
    await rm(first.directory, { recursive: true });
    arrays.scheduler.open();
    expect((await untilState(arrays.launcher, second, "ended")).end).toMatchObject({ exit_code: 4 });
  });

  test("E16: of which nothing was accepted leaves no note behind", async () => {
    await using arrays = await batchHarness({ arrays: true });
    const plans = await Promise.all(["exit 0", "exit 0"].map((script) => makePlan(arrays.root, script)));
    arrays.scheduler.faults.submit = [{ limited: "too many jobs" }];
    expect(await arrays.launcher.launch(plans, context)).toMatchObject([{ state: "busy" }, { state: "busy" }]);
    expect(await notes(arrays.root)).toEqual([]);
    expect(await arrays.reopen().find(plans, context)).toEqual([undefined, undefined]);
  });

  test("E1: without a clear answer is looked for once for all of its tasks, by this agent and by the next", async () => {
    await using arrays = await batchHarness({ arrays: true });
    const plans = await Promise.all(Array.from({ length: 20 }, () => makePlan(arrays.root, counting)));
    arrays.scheduler.faults.submit = ["unseen"];
    expect(await arrays.launcher.launch(plans, context)).toMatchObject(plans.map(() => ({ state: "unknown" })));
    const finds = vi.spyOn(arrays.scheduler, "find");
    const handles = await arrays.reopen().find(plans, context);
    expect(finds).toHaveBeenCalledTimes(1);
    expect(handles.map((handle) => handle?.data["job"])).toMatchObject(plans.map((_, task) => ({ task })));
    expect(await arrays.launcher.launch(plans, context)).toMatchObject(plans.map(() => ({ state: "accepted" })));
    for (const [index, it] of plans.entries()) {
      await untilState(arrays.launcher, { ...it, handle: handles[index] }, "ended");
      expect(await count(it)).toBe(1);
    }
    expect(arrays.scheduler.requests).toHaveLength(1);
  });

  test("E1: that was lost is submitted again by what its note says, and the note of the last submission counts", async () => {
    await using arrays = await batchHarness({ arrays: true });
    const plans = await Promise.all([counting, counting].map((script) => makePlan(arrays.root, script)));
    arrays.scheduler.faults.submit = ["lost", "unseen"];
    await arrays.launcher.launch(plans, context);
    const restarted = arrays.reopen();
    expect(await restarted.find(plans, context)).toEqual([undefined, undefined]);
    expect(await restarted.launch(plans, context)).toMatchObject([{ state: "unknown" }, { state: "unknown" }]);
    expect(arrays.scheduler.requests).toHaveLength(2);
    const again = arrays.reopen();
    const handles = await again.find(plans, context);
    for (const [index, it] of plans.entries()) {
      await untilState(again, { ...it, handle: handles[index] }, "ended");
      expect(await count(it)).toBe(1);
    }
  });

  test("with a damaged note is known by the second one; with both damaged it is no answer", async () => {
    await using arrays = await batchHarness({ arrays: true });
    const make = (): Promise<AttemptPlan[]> =>
      Promise.all(["exit 0", "exit 0"].map((script) => makePlan(arrays.root, script)));
    const [plans, [other]] = [await make(), await make()];
    if (!other) throw new Error("no attempt");
    arrays.scheduler.faults.full = true;
    const refs = await accepted(arrays, plans);
    const [lines = "", tasks = ""] = (await notes(arrays.root)).toSorted();
    expect([lines, tasks].map((path) => path.slice(-6))).toEqual([".lines", ".tasks"]);
    await writeFile(tasks, (await readFile(tasks, "utf8")).slice(0, 60));
    const handles = await arrays.reopen().find([...plans, other], context);
    expect(handles).toEqual([...refs.map(({ handle }) => handle), undefined]);
    await writeFile(lines, "");
    await expect(arrays.reopen().find([other], context)).rejects.toMatchObject({ code: "RUNNER" });
    await arrays.launcher.stop(refs, { graceMs: 0, reason: "test" }, context);
  });

  test("has a note until the last of its tasks has ended, and is not submitted again without it", async () => {
    await using arrays = await batchHarness({ arrays: true });
    const scripts = [counting, "while ! test -e go; do sleep 0.05; done"];
    const plans = await Promise.all(scripts.map((script) => makePlan(arrays.root, script)));
    const [it, waiting] = plans;
    const [first, second] = await accepted(arrays, plans);
    if (!it || !waiting || !first || !second) throw new Error("no attempts");
    await untilState(arrays.launcher, first, "ended");
    expect(await notes(arrays.root)).toHaveLength(2);
    await letGo(waiting, 0);
    await untilState(arrays.launcher, second, "ended");
    expect(await notes(arrays.root)).toEqual([]);
    // An agent that was killed before it wrote the end down, and the handle with it: the task itself noted as what it was submitted.
    const restarted = arrays.reopen();
    await rm(join(it.directory, "submission"));
    const handles = await restarted.find(plans, context);
    expect(handles.map((handle) => handle?.data)).toEqual([{ over: true }, second.handle?.data]);
    expect(await restarted.launch(plans, context)).toEqual(handles.map((handle) => ({ state: "accepted", handle })));
    for (const [index, { token, directory }] of plans.entries()) {
      const ref = { token, directory, handle: handles[index] };
      expect((await untilState(restarted, ref, "ended")).end).toMatchObject({ exit_code: 0 });
    }
    expect(arrays.scheduler.requests).toHaveLength(1);
  });

  test("of which a task left no record keeps its note until its jobs are all gone", async () => {
    await using arrays = await batchHarness({ arrays: true });
    const plans = await Promise.all(["exit 0", "exit 0"].map((script) => makePlan(arrays.root, script)));
    arrays.scheduler.faults.full = true;
    for (const ref of await accepted(arrays, plans)) await stopped(arrays.launcher, ref);
    const paths = await notes(arrays.root);
    expect(paths).toHaveLength(2);
    for (const it of plans) await rm(dirname(it.directory), { recursive: true });
    expect(await arrays.reopen().find(plans, context)).toEqual([undefined, undefined]);
    expect(await notes(arrays.root)).toEqual([]);
  });
});
