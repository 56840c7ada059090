import { expect, it } from "vitest";
import { waitFor } from "../../helpers/wait.ts";
import { hours, play } from "./scene.ts";

/** Room and owner file (30 s), retention and probes (60 s) look by themselves; a call of the sync loop brings its own time limit and pause. */
const looksPerHour = 300;
const timersPerCall = 2;

it.each(["minimal", "full"])(
  "an agent without work wakes for calls and its looks at room, owner file, ended jobs and launchers alone (report: %s)",
  async (report) => {
    await using scene = await play({ agent: { report, keep: "1s" } });
    const { clock, hub, rig, pass, until } = scene;
    await until("a session", () => hub.called.length > 0);
    hub.give("j1");
    await until("a running attempt", () => rig.launcher.running.length === 1);
    for (const token of rig.launcher.running) rig.launcher.end(token);
    await until("it is forgotten", async () => (await rig.status()).jobs.length === 0);
    await pass(hours / 60);
    const before = { woken: clock.woken, calls: hub.called.length };
    await pass(1 * hours);
    const calls = hub.called.length - before.calls;
    expect(clock.woken - before.woken).toBeLessThan(looksPerHour + timersPerCall * calls);
  },
);

it("the first job that ends is forgotten soon after its keep, not at the next look of an idle agent", async () => {
  await using scene = await play({ agent: { keep: "1s" } });
  const { hub, rig, pass, until } = scene;
  await until("a session", () => hub.called.length > 0);
  hub.give("j1");
  await until("a running attempt", () => rig.launcher.running.length === 1);
  for (const token of rig.launcher.running) rig.launcher.end(token);
  await until("it has ended", async () => (await rig.status()).jobs.every((job) => job.ended_at !== undefined));
  // Well below the minute after which an idle agent looks. The disk has its own time.
  let leftMs = 30_000;
  const forgotten = async (): Promise<boolean> => {
    if ((await rig.status()).jobs.length === 0) return true;
    if (leftMs > 0) await pass(250);
    leftMs -= 250;
    return false;
  };
  await waitFor(forgotten, { what: "the job is forgotten within 30 s", timeoutMs: 20_000, intervalMs: 30 });
});
