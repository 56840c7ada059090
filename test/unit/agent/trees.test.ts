import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statfsSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { makeTree, removeWhole } from "../../../src/agent/trees.ts";
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

it("removes trees, small and large, and nothing that links in them or in their place lead to", async () => {
  await using place = await temporaryDirectory();
  const [outside, tree, link] = [place.join("outside"), place.join("tree"), place.join("link")];
  mkdirSync(outside);
  writeFileSync(join(outside, "kept"), "");
  for (const files of [3, 1_200]) {
    mkdirSync(join(tree, "a", "b"), { recursive: true });
    for (let n = 0; n < files; n++) writeFileSync(join(tree, "a", `${n}`), "");
    symlinkSync(outside, join(tree, "a", "b", "out"));
    await removeWhole(tree);
    expect(existsSync(tree)).toBe(false);
  }
  symlinkSync(outside, link);
  await removeWhole(link);
  await removeWhole(place.join("nothing"));
  expect(readdirSync(place.path)).toEqual(["outside"]);
  expect(readdirSync(outside)).toEqual(["kept"]);
});
