import { readdir, readFile, writeFile } from "node:fs/promises";
import { expect, it } from "vitest";
import type { TemporaryDirectory } from "../../helpers/temporary.ts";
import { fillWithRunning } from "./followed-jobs.ts";
import { play } from "./scene.ts";

/** Changes a letter in the record that says that this job is held. */
async function damage(directory: TemporaryDirectory, id: string): Promise<void> {
  const [name] = (await readdir(directory.join("state", "journal"))).filter((file) => file.endsWith(".log"));
  const file = directory.join("state", "journal", name ?? "");
  const text = await readFile(file, "utf8");
  expect(text).toContain(`"id":"${id}"`);
  await writeFile(file, text.replace(`"id":"${id}"`, `"iD":"${id}"`));
}

it("C7: with a journal that was damaged in its middle the agent says so, goes on with what is whole and hears what central misses", async () => {
  await using scene = await play({
    prepare: async (directory, launcher) => {
      await fillWithRunning(["j1", "j2", "j3"], directory, launcher);
      await damage(directory, "j2");
    },
  });
  const { hub, rig } = scene;
  for (const id of ["j1", "j2", "j3"]) {
    hub.epochs.set(id, 1);
    hub.applyFrom(id, 1, 5);
  }
  hub.standing = { missing: [{ job: "j2", epoch: 1 }] };
  await scene.until("the damage is shown", () => rig.problem(/the journal was damaged/));
  expect((await rig.problem(/the journal was damaged/))?.repair).toMatch(/compare the jobs below with the hub/);
  await scene.until("the lost one is shown", () => rig.problem(/j2/));
  expect((await rig.status()).jobs.map(({ id }) => id)).toEqual(["j1", "j3"]);
  hub.standing = {};
  // The damage is behind it: the next process reads a whole journal, and follows what is held.
  await rig.restart();
  expect(await rig.problem(/the journal was damaged/)).toBeUndefined();
  for (const token of rig.launcher.running) rig.launcher.end(token);
  await scene.until("both ends are told", () => ["j1", "j3"].every((id) => hub.states(id).at(-1) === "JOB_FINISHED"));
  expect(rig.launcher.starts).toEqual([1, 1, 1]);
  expect(rig.launcher.stopped).toEqual([]);
});
