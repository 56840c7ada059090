/** The agent while the file system of its state directory takes nothing, or does not answer. */
import { expect, it } from "vitest";
import { Vitals } from "../../../src/agent/watchdog.ts";
import { BadDisk } from "../../helpers/bad-disk.ts";
import { type Scene, play, seconds } from "./scene.ts";

/** What the agent asked for last. */
const asked = ({ hub }: Scene) => hub.called.at(-1)?.body;
const refusal = (scene: Scene): string => JSON.stringify(asked(scene)?.health?.["not_accepting"] ?? "");
const running =
  ({ rig }: Scene, count: number) =>
  () =>
    rig.launcher.running.length === count;

async function endsWell(scene: Scene, job: string): Promise<void> {
  const { rig, hub } = scene;
  await scene.until(`${job} is told to have ended`, () => {
    for (const token of rig.launcher.running) rig.launcher.end(token);
    return hub.states(job).includes("JOB_FINISHED");
  });
  expect(rig.launcher.starts.every((starts) => starts === 1)).toBe(true);
}

it("C3: a quota that is used up is named as such, nothing is claimed or started, and it heals alone", async () => {
  const disk = new BadDisk();
  await using scene = await play({ disk });
  const { hub, rig } = scene;
  await scene.until("claims are offered", () => asked(scene)?.free?.length === 1);
  disk.writeError = "EDQUOT";
  hub.give("j1");
  await scene.until("it says so", () => rig.problem(/quota of the journal is used up/));
  expect((await rig.status()).journal.health).toBe("no-quota");
  await scene.until("and to central", () => /no-quota/.test(refusal(scene)));
  expect(asked(scene)?.free).toEqual([]);
  expect(rig.launcher.starts).toEqual([]);
  disk.writeError = undefined;
  await scene.until("claims are offered again", () => asked(scene)?.free?.length === 1);
  await scene.until("no problem is left", async () => !(await rig.problem(/quota/)));
  hub.give("j2");
  await endsWell(scene, "j2");
});

it("C3: when inodes run out nothing is claimed, whatever the bytes, and the problem names them", async () => {
  const disk = new BadDisk();
  disk.freeFiles = 3;
  await using scene = await play({ disk });
  const { hub, rig } = scene;
  await scene.until("central is told", () => /3 free inodes/.test(refusal(scene)));
  expect(asked(scene)?.free).toEqual([]);
  expect(await rig.problem(/3 free inodes/)).toBeDefined();
  disk.freeFiles = 1_000_000;
  await scene.until("claims are offered", () => asked(scene)?.free?.length === 1);
  expect(await rig.problem(/inodes/)).toBeUndefined();
  hub.give("j1");
  await endsWell(scene, "j1");
});

it("C6: while the disk hangs nothing begins and nothing is told, status says so, the watchdog is fed; then all goes on, once", async () => {
  const disk = new BadDisk();
  await using scene = await play({ disk });
  const { hub, rig, clock } = scene;
  await scene.until("claims are offered", () => asked(scene)?.free?.length === 1);
  hub.give("j1");
  await scene.until("it runs", running(scene, 1));
  await scene.until("that is told", () => hub.states("j1").includes("RUNNING"));
  const told = hub.applied.length;
  disk.hang();
  hub.give("j2");
  for (const token of rig.launcher.running) rig.launcher.end(token);
  const vitals = new Vitals(clock.monotonic());
  for (let round = 0; round < 40; round++) {
    await scene.pass(30 * seconds);
    expect(vitals.look(await rig.status(), clock.monotonic())).toBeUndefined();
  }
  expect((await rig.status()).journal.health).toBe("stalled");
  expect(await rig.problem(/disk of the journal does not answer/)).toBeDefined();
  expect(await rig.problem(/file system of the site does not answer/)).toBeDefined();
  expect(hub.applied).toHaveLength(told);
  expect(rig.launcher.attempts.size).toBe(1);
  disk.answer();
  await endsWell(scene, "j1");
  await endsWell(scene, "j2");
  expect(rig.launcher.attempts.size).toBe(2);
  await scene.until("no problem is left", async () => (await rig.status()).problems.length === 0);
  expect(vitals.look(await rig.status(), clock.monotonic())).toBeUndefined();
});
