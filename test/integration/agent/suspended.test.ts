import { expect, it } from "vitest";
import { fillWithRunning } from "./followed-jobs.ts";
import { hours, play } from "./scene.ts";

it("D14: that an attempt was suspended and goes on is told once each, to central and at the site, and nothing in between", async () => {
  await using scene = await play({ prepare: (...into) => fillWithRunning(["j1"], ...into) });
  const { hub, rig } = scene;
  hub.epochs.set("j1", 1);
  hub.applyFrom("j1", 1, 5);
  const told = (): readonly string[] => hub.applied.map(({ state, phase }) => `${state} ${phase}`);
  await scene.until("it is followed", () => hub.called.length > 0);
  const [token] = rig.launcher.running;
  if (token === undefined) throw new Error("nothing runs");

  rig.launcher.suspend(token, true);
  await scene.until("it is told", () => told().length > 0);
  expect(await rig.job("j1")).toMatchObject({
    status: "RUNNING",
    phase: "suspended",
    waiting: expect.stringContaining("SIGSTOP"),
  });
  await scene.pass(1 * hours);
  await rig.restart();
  await scene.pass(1 * hours);
  expect(told()).toEqual(["RUNNING suspended"]);

  rig.launcher.suspend(token, false);
  await scene.until("it is told that it goes on", () => told().length > 1);
  expect(await rig.job("j1")).toMatchObject({ status: "RUNNING", phase: "started", waiting: null });
  rig.launcher.suspend(token, true);
  await scene.until("it is told again", () => told().length > 2);
  rig.launcher.end(token);
  await scene.until("the end is told", () => hub.states("j1").includes("JOB_FINISHED"));
  expect(told().slice(0, 3)).toEqual(["RUNNING suspended", "RUNNING started", "RUNNING suspended"]);
  expect(told().filter((word) => word.startsWith("RUNNING"))).toHaveLength(3);
  expect(rig.launcher.starts).toEqual([1]);
});
