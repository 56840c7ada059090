/** What a job costs that has nothing to stage and no hooks: the fewer records and syncs, the more of them in the same time. */
import { readdir, readFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { play, type Scene } from "./scene.ts";
import { assignmentOf } from "./scripted-hub.ts";

/** Kinds of the records that the journal holds of a job, in order. */
async function kindsOf({ rig }: Scene, job: string): Promise<readonly string[]> {
  const directory = rig.directory.join("state", "journal");
  const names = (await readdir(directory)).filter((name) => name.endsWith(".log"));
  const texts = await Promise.all(names.map((name) => readFile(`${directory}/${name}`, "utf8")));
  const lines = texts.flatMap((text) => text.split("\n")).filter((line) => line.includes(`"job":"${job}","`));
  return lines.flatMap((line) => /"kind":"(job\.[a-z]+)"/.exec(line)?.[1] ?? []);
}

it("A job without hooks, inputs and outputs is claimed, staged, planned, seen and ended with one record each", async () => {
  await using scene = await play();
  const { hub, rig, until } = scene;
  hub.give("j");
  await until("it runs", () => hub.states("j").at(-1) === "RUNNING");
  for (const token of rig.launcher.running) rig.launcher.end(token);
  await until("it is done", () => hub.states("j").at(-1) === "JOB_FINISHED");
  expect(hub.states("j").slice(-5)).toEqual(["RUNNING", "RUN_DONE", "POSTPROCESSED", "STAGED_OUT", "JOB_FINISHED"]);
  expect(await kindsOf(scene, "j")).toEqual(["job.held", ...Array.from({ length: 5 }, () => "job.change")]);
});

it("A4: a job that comes twice in one answer is taken once", async () => {
  await using scene = await play();
  const { hub, rig, until } = scene;
  hub.epochs.set("j", 1);
  hub.tell({ assign: [assignmentOf("j", 1), assignmentOf("j", 1)] });
  await until("it runs", () => hub.states("j").at(-1) === "RUNNING");
  expect(rig.launcher.starts).toEqual([1]);
  expect((await kindsOf(scene, "j")).filter((kind) => kind === "job.held")).toHaveLength(1);
});
