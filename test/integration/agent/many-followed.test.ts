import { expect, it } from "vitest";
import { fillWithRunning } from "./followed-jobs.ts";
import { play, seconds } from "./scene.ts";

const ids = Array.from({ length: 200 }, (_, index) => `j${index}`);

it("B19: after a restart all jobs are followed again by single questions for all of them, and each end is told", async () => {
  const asked: number[] = [];
  await using scene = await play({
    slots: ids.length,
    prepare: async (directory, launcher) => {
      await fillWithRunning(ids, directory, launcher);
      const statuses = launcher.statuses.bind(launcher);
      launcher.statuses = (refs) => {
        asked.push(refs.length);
        return statuses(refs);
      };
    },
  });
  const { hub, rig, clock } = scene;
  for (const id of ids) {
    hub.epochs.set(id, 1);
    hub.applyFrom(id, 1, 5);
  }
  const isFollowed = () => rig.log.lines.some((line) => line.includes("attempts are followed"));
  await scene.until("all are followed", isFollowed, 5 * seconds);
  expect(asked[0]).toBe(ids.length);
  asked.length = 0;
  const restartedMs = clock.monotonic();
  await rig.restart();
  await scene.until("all are followed again", () => asked.length > 0, 5 * seconds);
  expect(asked.length).toBeLessThanOrEqual(3);
  expect(asked.every((count) => count === ids.length)).toBe(true);
  expect(clock.monotonic() - restartedMs).toBeLessThanOrEqual(5 * seconds);
  for (const token of rig.launcher.running) rig.launcher.end(token);
  await scene.until("all ends are told", () => ids.every((id) => hub.states(id).includes("JOB_FINISHED")));
  expect(asked.every((count) => count <= ids.length)).toBe(true);
  expect(rig.launcher.starts.every((starts) => starts === 1)).toBe(true);
  expect(rig.launcher.stopped).toEqual([]);
});
