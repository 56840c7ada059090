import { spawnSync } from "node:child_process";
import { readdir, writeFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { branchesOf } from "../../../scripts/coverage/branches.ts";
import { Counts } from "../../../scripts/coverage/counts.ts";
import { areas, formatAreas, summarize } from "../../../scripts/coverage/report.ts";
import { cleanEnvironment } from "../../helpers/cli.ts";
import { type TemporaryDirectory, temporaryDirectory } from "../../helpers/temporary.ts";

/** A process, a thread of it and a child, each on its own way through the same function. */
const main = `import { spawnSync } from "node:child_process";
import { Worker, isMainThread } from "node:worker_threads";
import { way } from "./way.ts";

interface Blanked { readonly reason: string }
const told: Blanked = { reason: "types are blanked out" };

if (process.argv[2] === "child") way(3);
else if (!isMainThread) way(2);
else {
  way(told.reason.length > 0 ? 1 : 0);
  new Worker(new URL(import.meta.url)).on("exit", () => {
    spawnSync(process.execPath, [process.argv[1] as string, "child"], { env: { PATH: "/bin" } });
  });
}
`;

const way = `interface Numbered { readonly number: number }

export function way(number: Numbered["number"]): string {
  if (number === 1) return "process";
  if (number === 2) return "thread";
  if (number === 3) return "child";
  return number > 4 ? "many" : "four";
}
`;

async function run(): Promise<TemporaryDirectory> {
  const directory = await temporaryDirectory();
  await writeFile(directory.join("package.json"), '{"type":"module"}');
  await writeFile(directory.join("main.ts"), main);
  await writeFile(directory.join("way.ts"), way);
  const env = { ...cleanEnvironment(directory.path), NODE_V8_COVERAGE: directory.join("counts") };
  const { status, stderr } = spawnSync(process.execPath, [directory.join("main.ts")], { env, encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
  return directory;
}

describe("counts of branches", () => {
  it("are the sum of process, thread and child, by the lines of the source", async () => {
    await using directory = await run();
    const counts = new Counts(directory.join("counts"), directory.path);
    await counts.gather();
    expect(counts.reports).toBe(3);
    expect(await readdir(directory.join("counts"))).toEqual([]);
    const branches = await branchesOf(directory.join("way.ts"), counts.of(directory.join("way.ts")));
    const taken = branches.map((branch) => `${branch.line} ${branch.way} ${branch.taken}`);
    expect(taken).toEqual([
      ...["4 if 1 true", "4 if 2 true", "5 if 1 true", "5 if 2 true"],
      ...["6 if 1 true", "6 if 2 false", "7 cond-expr 1 false", "7 cond-expr 2 false"],
    ]);
  });

  it("know the branches of a file that nobody loaded", async () => {
    await using directory = await run();
    const counts = new Counts(directory.join("counts"), directory.path);
    const branches = await branchesOf(directory.join("way.ts"), counts.of(directory.join("way.ts")));
    expect(branches.map((branch) => branch.taken)).toEqual(Array.from({ length: 8 }, () => false));
  });

  it("leave a report that is still being written for the next time", async () => {
    await using directory = await run();
    await writeFile(directory.join("counts", "coverage-1.json"), '{"result":[{"url":');
    const counts = new Counts(directory.join("counts"), directory.path);
    await counts.gather();
    expect(counts.reports).toBe(3);
    expect(await readdir(directory.join("counts"))).toEqual(["coverage-1.json"]);
  });
});

describe("the report", () => {
  const branch = (line: number, taken: boolean) => ({ line, column: 3, way: "if 1", taken });

  it("names what was not taken and the area that is below its goal", () => {
    const jobs = { path: "src/jobs/one.ts", branches: [branch(9, false), branch(4, false), branch(1, true)] };
    const journal = { path: "src/journal/two.ts", branches: Array.from({ length: 10 }, (_, at) => branch(at, at > 0)) };
    const summary = summarize([jobs, journal]);
    expect(summary.map((area) => area.name)).toEqual([...Object.keys(areas), "all of src"]);
    expect(summary.filter((area) => !area.enough).map((area) => area.name)).toEqual(["jobs"]);
    expect(summary.at(0)?.missing).toEqual(["src/jobs/one.ts:4:3 if 1", "src/jobs/one.ts:9:3 if 1"]);
    const text = formatAreas(summary);
    expect(text).toMatch(/^jobs +1\/3 +33\.3 % {2}below 90 %$/m);
    expect(text).toMatch(/^journal +9\/10 +90\.0 %$/m);
    expect(text).toMatch(/^all of src +10\/13 +76\.9 %$/m);
  });
});
