import { expect, it } from "vitest";
import { gaps, minutes, play, seconds } from "./scene.ts";

it("E16: a limit of the scheduler is shown with its reason and tried less and less often; nothing fails of it", async () => {
  await using scene = await play();
  const { hub, rig } = scene;
  rig.launcher.busy = "QOSMaxSubmitJobPerUserLimit";
  hub.give("j1");
  const blocked = async (id: string): Promise<boolean> =>
    JSON.stringify((await rig.job(id)) ?? {}).includes("QOSMaxSubmitJobPerUserLimit");
  await scene.until("it says why it waits", () => blocked("j1"));
  await scene.pass(60 * minutes);
  // At first after seconds, then after two minutes at most, one in the middle.
  expect(rig.launcher.refused.length).toBeLessThan(120);
  expect(rig.launcher.refused.length).toBeGreaterThan(20);
  // The clock goes in steps of 36 s here.
  expect(Math.max(...gaps(rig.launcher.refused))).toBeLessThan(160 * seconds);
  rig.launcher.busy = undefined;
  await scene.until("it runs", () => rig.launcher.running.length === 1, 4 * minutes);
  for (const token of rig.launcher.running) rig.launcher.end(token);
  await scene.until("its end is told", () => hub.states("j1").includes("JOB_FINISHED"));
  expect(rig.launcher.starts).toEqual([1]);
});
