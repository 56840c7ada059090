import { expect, it } from "vitest";
import { hours, minutes, play } from "./scene.ts";

it("E16: a limit of the scheduler is shown with its reason and tried less and less often; nothing fails of it", async () => {
  await using scene = await play();
  const { hub, rig } = scene;
  rig.launcher.busy = "QOSMaxSubmitJobPerUserLimit";
  hub.give("j1");
  const blocked = async (id: string): Promise<boolean> =>
    JSON.stringify((await rig.job(id)) ?? {}).includes("QOSMaxSubmitJobPerUserLimit");
  await scene.until("it says why it waits", () => blocked("j1"));
  await scene.until("it is tried again and again", () => rig.launcher.refused.length >= 10, 2 * hours);
  const before = rig.launcher.refused.length;
  await scene.pass(30 * minutes);
  // Every two minutes at most by then; without longer and longer pauses it would be hundreds of times.
  expect(rig.launcher.refused.length - before).toBeLessThan(60);
  rig.launcher.busy = undefined;
  await scene.until("it runs", () => rig.launcher.running.length === 1, 4 * minutes);
  for (const token of rig.launcher.running) rig.launcher.end(token);
  await scene.until("its end is told", () => hub.states("j1").includes("JOB_FINISHED"));
  expect(rig.launcher.starts).toEqual([1]);
});
