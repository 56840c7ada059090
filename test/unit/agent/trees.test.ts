import { spawnSync } from "node:child_process";
import { statfsSync, statSync } from "node:fs";
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
