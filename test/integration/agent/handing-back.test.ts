import { expect, it } from "vitest";
import { minutes, play } from "./scene.ts";

it("BAL-29: draining hands back what has not begun at once, and a job whose attempt may live never: it is told when it is proven over", async () => {
  await using scene = await play({ slots: 1 });
  const { hub, rig } = scene;
  const released = () => hub.server.requests.filter(({ path }) => path.endsWith(":release")).map(({ path }) => path);
  hub.give("j1");
  await scene.until("it runs", () => rig.launcher.running.length === 1);
  hub.give("j2");
  await scene.until("the other waits", async () => (await rig.job("j2")) !== undefined);
  // Nobody can tell whether the attempt lives.
  const statuses = rig.launcher.statuses.bind(rig.launcher);
  rig.launcher.statuses = async (refs) => refs.map(() => ({ state: "unknown", why: "unreachable" }));
  const { ended } = await rig.drain(true);
  await scene.until("the other is handed back", () => released().some((path) => path.includes("j2")));
  await scene.pass(30 * minutes);
  expect(released().filter((path) => path.includes("j1"))).toEqual([]);
  expect(hub.applied.filter(({ job, done }) => job === "j1" && done)).toEqual([]);
  rig.launcher.statuses = statuses;
  for (const token of rig.launcher.running) rig.launcher.end(token);
  await scene.until("its end is told", () => hub.states("j1").includes("JOB_FINISHED"));
  expect(await ended).toEqual({ kind: "drained" });
  expect(released()).toHaveLength(1);
});
