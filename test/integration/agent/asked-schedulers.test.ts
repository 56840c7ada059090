/** What an agent does with the words, and with the silence, of what stands behind a launcher. */
import { expect, it } from "vitest";
import { gaps, minutes, play, seconds } from "./scene.ts";

it("E19: a question that hangs for ten minutes is the only one, and holds up neither contact with central nor claims nor starts", async () => {
  await using scene = await play();
  const { hub, rig } = scene;
  hub.give("j1");
  await scene.until("it runs", () => hub.states("j1").includes("RUNNING"));
  const answered = Promise.withResolvers<void>();
  rig.launcher.hangs = answered.promise;
  await scene.until("a question hangs", () => rig.launcher.questions.open > 0);
  const [before, asked] = [hub.called.length, rig.launcher.questions.asked];
  await scene.pass(5 * minutes);
  hub.give("j2");
  await scene.until("another job is claimed and started", () => rig.launcher.running.length === 2, 2 * minutes);
  await scene.pass(5 * minutes);
  const calls = hub.called.slice(before).map(({ atMs }) => atMs);
  expect(Math.max(...gaps(calls))).toBeLessThanOrEqual(60 * seconds);
  expect(calls.length).toBeGreaterThan(10);
  expect(rig.launcher.questions).toEqual({ asked, open: 1 });
  expect(hub.states("j1").at(-1)).toBe("RUNNING");
  rig.launcher.hangs = undefined;
  answered.resolve();
  for (const token of rig.launcher.running) rig.launcher.end(token);
  await scene.until("both ends are told", () => ["j1", "j2"].every((id) => hub.states(id).includes("JOB_FINISHED")));
  expect(rig.launcher.starts).toEqual([1, 1]);
});

it("E15: why an attempt waits in the queue is shown as it changes; that it will not start by itself is told once", async () => {
  await using scene = await play();
  const { hub, rig } = scene;
  rig.launcher.queue = { reason: "Priority" };
  hub.give("j1");
  const shows = async (text: string): Promise<boolean> => ((await rig.job("j1"))?.waiting ?? "").includes(text);
  await scene.until("why it waits", () => shows("waits in the queue: Priority"));
  rig.launcher.queue = { reason: "Resources" };
  await scene.until("why it waits now", () => shows("Resources"));
  const held = "JobHeldAdmin: it will not start by itself";
  rig.launcher.queue = { reason: held, stuck: true };
  const told = (): number => hub.applied.filter(({ message }) => message === held).length;
  await scene.until("that it is held", async () => told() === 1 && (await shows(held)));
  const asked = rig.launcher.questions.asked;
  await scene.pass(30 * minutes);
  await rig.restart();
  await scene.pass(30 * minutes);
  expect(told()).toBe(1);
  // The longest pause is ten seconds; the scheduler itself is asked by the launcher, and less often.
  expect(rig.launcher.questions.asked - asked).toBeLessThan(450);
  rig.launcher.queue = undefined;
  await scene.until("it runs", () => hub.states("j1").includes("RUNNING"));
  expect((await rig.job("j1"))?.waiting).toBeNull();
});
