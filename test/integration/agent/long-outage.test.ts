import { expect, it } from "vitest";
import { heldBytes } from "../../helpers/heap.ts";
import { fillWithRunning } from "./followed-jobs.ts";
import { hours, play, seconds } from "./scene.ts";

const count = 1_000;
const ids = Array.from({ length: count }, (_, index) => `j${index}`);

it("A2, BAL-21: a day without central and 1,000 running jobs: all ends are kept in flat memory and told in order within a minute", async () => {
  await using scene = await play({ prepare: (...into) => fillWithRunning(ids, ...into), slots: count });
  const { clock, hub, proxy, rig, pass } = scene;
  for (const id of ids) {
    hub.epochs.set(id, 1);
    hub.applyFrom(id, 1, 5);
  }
  await scene.until("all are followed", () => hub.called.length > 0);
  proxy.fault = { kind: "refuse" };
  await pass(1 * hours);
  const quiet = { heap: heldBytes(), journal: (await rig.status()).journal.bytes };
  await pass(11 * hours);
  // Nothing happens here: tries alone leave nothing behind.
  expect(heldBytes() - quiet.heap).toBeLessThan(8 * 1024 * 1024);
  expect((await rig.status()).journal.bytes - quiet.journal).toBeLessThan(10_000);
  for (let hour = 0; hour < 11; hour++) {
    for (const token of rig.launcher.running.slice(0, Math.ceil(count / 11))) rig.launcher.end(token, hour % 3);
    await pass(1 * hours);
  }
  const status = await rig.until("all have ended", ({ jobs }) => jobs.every((job) => job.ended_at !== null));
  expect(status.jobs).toHaveLength(count);
  expect(heldBytes() - quiet.heap).toBeLessThan(32 * 1024 * 1024);
  // The pace has sunk: the sync loop tries twice a minute on average, the outbox once in five minutes. A try takes a second
  // connection where the first was reset before the request was written.
  const tries = proxy.connections;
  await pass(1 * hours);
  expect(proxy.connections - tries).toBeLessThan(2 * 200);

  proxy.fault = { kind: "pass" };
  const back = clock.monotonic();
  await scene.until("all is told", async () => (await rig.status()).outbox.unsent === 0, 90 * seconds);
  expect((hub.reportedAt.at(-1) ?? Infinity) - back).toBeLessThanOrEqual(61 * seconds);
  for (const id of ids) {
    const told = hub.applied.filter((report) => report.job === id);
    expect(told.map(({ seq }) => seq)).toEqual(told.map((_, index) => index + 6));
    expect(told.at(-1)).toMatchObject({ done: true });
  }
  expect(rig.launcher.starts.every((starts) => starts === 1)).toBe(true);
  expect(rig.launcher.stopped).toEqual([]);
});
