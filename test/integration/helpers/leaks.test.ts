import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { cleanEnvironment, repository } from "../../helpers/cli.ts";
import { isAlive } from "../../helpers/processes.ts";
import { Program } from "../../helpers/program.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";

it("fails a test that leaves a child and daemons behind, and kills them all", async () => {
  await using home = await temporaryDirectory();
  const pidsFile = home.join("pids");
  const vitest = join(repository, "node_modules", "vitest", "vitest.mjs");
  await using program = await Program.start(process.execPath, [vitest, "run"], {
    cwd: join(repository, "test", "fixtures", "leaks"),
    env: cleanEnvironment(home.path, { PIDS_FILE: pidsFile }),
    input: "",
  });
  const done = await program.result(60_000);
  expect(done.stdout + done.stderr).toMatch(/the test left processes behind[\s\S]*sleep 10[1-5]/);
  expect(done.stdout + done.stderr).toMatch(/the file left processes behind[\s\S]*sleep 106/);
  expect(done.code).toBe(1);
  const pids = (await readFile(pidsFile, "utf8")).split(" ").map(Number);
  expect(pids.length).toBeGreaterThanOrEqual(4);
  expect(pids.filter(isAlive)).toEqual([]);
});
