import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, statfsSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { makeTree } from "../../../src/agent/trees.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";

const attributesOf = (path: string): string | undefined => {
  const { status, stdout } = spawnSync("lsattr", ["-d", "--", path], { encoding: "utf8" });
  return status === 0 ? stdout.split(" ")[0] : undefined;
};

it("spreads the directories of jobs over an ext4's block groups; elsewhere it makes them all the same", async () => {
  await using place = await temporaryDirectory();
  const work = place.join("work");
  const root = join(work, "job");
  await makeTree({ root, below: [join(root, "in")], marker: { path: join(root, "job.json"), text: "{}" } });
  expect(statSync(join(root, "in")).isDirectory()).toBe(true);
  const attributes = attributesOf(work);
  if (statfsSync(work).type === 0xef53 && attributes !== undefined) expect(attributes).toContain("T");
});

it("makes a tree whole that a crash cut short, its marker included", async () => {
  await using place = await temporaryDirectory();
  const root = place.join("job");
  const marker = { path: join(root, "job.json"), text: '{ "job": "one" }' };
  const tree = { root, below: [join(root, "attempts"), join(root, "attempts", "1")], marker };
  await makeTree({ ...tree, below: tree.below.slice(0, 1) });
  expect(readFileSync(marker.path, "utf8")).toBe(marker.text);
  writeFileSync(marker.path, marker.text.slice(0, 5));
  await makeTree(tree);
  expect(readFileSync(marker.path, "utf8")).toBe(marker.text);
  expect(readdirSync(root).toSorted()).toEqual(["attempts", "job.json"]);
  expect(statSync(join(root, "attempts", "1")).mode & 0o777).toBe(0o700);
});
