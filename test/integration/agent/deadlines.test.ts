/** Waits are until a time, not for a time: agents that come and go do not begin them anew. */
import { expect, it } from "vitest";
import { minutes, play } from "./scene.ts";

const retry = { attempts: 2, on: ["exit:9"], delay: "10m" };

it("TAP-5: the delay before the next attempt ends when it would have, however often the agent starts anew", async () => {
  await using scene = await play({ apps: { w: { retry } } });
  const { hub, rig, clock } = scene;
  hub.give("j1");
  await scene.until("it runs", () => rig.launcher.running.length === 1);
  for (const token of rig.launcher.running) rig.launcher.end(token, 9);
  const endedMs = clock.monotonic();
  await scene.until("it waits", () => hub.states("j1").includes("RESTART_READY"));
  for (let starts = 0; starts < 3; starts++) {
    await scene.pass(2.5 * minutes);
    await rig.restart();
  }
  expect(rig.launcher.attempts.size).toBe(1);
  await scene.until("the second attempt", () => rig.launcher.attempts.size === 2);
  const waitedMs = clock.monotonic() - endedMs;
  expect(waitedMs).toBeGreaterThanOrEqual(10 * minutes);
  expect(waitedMs).toBeLessThan(10.5 * minutes);
});

it("a job that waits out a long delay leaves its slot to another, and takes its turn after it", async () => {
  await using scene = await play({ apps: { w: { retry } }, slots: 1 });
  const { hub, rig, clock } = scene;
  hub.give("j1");
  await scene.until("it runs", () => rig.launcher.running.length === 1);
  expect(hub.called.at(-1)?.body.free).toEqual([]);
  for (const token of rig.launcher.running) rig.launcher.end(token, 9);
  await scene.until("it waits", () => hub.states("j1").includes("RESTART_READY"));
  const sinceMs = clock.monotonic();
  await scene.until("its slot is offered", () => hub.called.at(-1)?.body.free?.length === 1);
  // Told at once, not with the next round.
  expect(clock.monotonic() - sinceMs).toBeLessThan(5_000);
  hub.give("j2");
  await scene.until("the other runs", () => rig.launcher.attempts.size === 2);
  await scene.pass(12 * minutes);
  expect(rig.launcher.attempts.size).toBe(2);
  for (const token of rig.launcher.running) rig.launcher.end(token);
  await scene.until("the second attempt of the first", () => rig.launcher.attempts.size === 3);
  for (const token of rig.launcher.running) rig.launcher.end(token);
  await scene.until("both have ended", () => ["j1", "j2"].every((id) => hub.states(id).includes("JOB_FINISHED")));
});
