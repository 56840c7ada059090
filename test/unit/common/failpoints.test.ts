import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import {
  agentFailpoints,
  batchFailpoints,
  cacheFailpoints,
  hubFailpoints,
  pilotFailpoints,
  runnerFailpoints,
} from "../../../src/common/failpoints.ts";
import { repository } from "../../helpers/cli.ts";

const hooks = ["preprocess", "postprocess", "handle_error", "handle_timeout"];

/** Names and the files whose source passes them. */
function passages(): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>();
  for (const file of globSync("src/**/*.ts", { cwd: repository })) {
    if (file.endsWith("common/failpoint.ts")) continue;
    const text = readFileSync(join(repository, file), "utf8");
    for (const [, written = ""] of text.matchAll(/failpoint\(["`]([^"`]+)["`]\)/g)) {
      const names = written.includes("${hook}") ? hooks.map((hook) => written.replace("${hook}", hook)) : [written];
      for (const name of names) found.set(name, (found.get(name) ?? new Set()).add(file));
    }
  }
  return found;
}

it("every failpoint of the tables is passed exactly where they say", () => {
  const tables: Record<string, readonly string[]> = {
    ...agentFailpoints,
    ...batchFailpoints,
    ...cacheFailpoints,
    ...pilotFailpoints,
    ...runnerFailpoints,
    ...hubFailpoints,
  };
  const told = Object.fromEntries(Object.entries(tables).map(([name, files]) => [name, files.toSorted()]));
  const passed = Object.fromEntries([...passages()].map(([name, files]) => [name, [...files].toSorted()]));
  expect(told).toEqual(passed);
});
