import { join } from "node:path";
import { expect, test } from "vitest";
import { compileCache } from "../../helpers/compile-cache.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { Program } from "../../helpers/program.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { open } from "./open.ts";

failOnLeakedProcesses();

const programs = join(import.meta.dirname, "programs");

async function canMount(): Promise<boolean> {
  try {
    await using program = await Program.start("unshare", ["-m", "--propagation", "private", "true"], {
      env: { PATH: process.env["PATH"] },
    });
    return (await program.result(10_000)).code === 0;
  } catch {
    return false;
  }
}

test.skipIf(!(await canMount()))(
  "on a full disk gives up the ballast for ends and acks, and recovers alone (needs the right to mount)",
  async () => {
    await using directory = await temporaryDirectory();
    await using program = await Program.start(
      "unshare",
      ["-m", "--propagation", "private", process.execPath, join(programs, "full-disk.ts"), directory.join("mounted")],
      { env: { PATH: process.env["PATH"] } },
    );
    const finished = await program.result(50_000);
    expect(finished.stderr).toBe("");
    expect(finished).toMatchObject({ code: 0, stdout: "passed\n" });
  },
);

test.each([
  ["journal.before-sync=error@3", "a failed sync"],
  ["journal.before-write=error@3", "a failed write"],
  ["journal.before-sync=exit@3", "the death of the thread"],
])("after %s (%s) every later commit is refused, and a restart reads what was acknowledged", async (failpoints) => {
  await using directory = await temporaryDirectory();
  await using program = await Program.start(process.execPath, [join(programs, "bad-disk.ts"), directory.path], {
    env: { ...compileCache, SITEAGENT_TEST: "1", SITEAGENT_FAILPOINTS: failpoints },
  });
  const { stdout, stderr } = await program.result(30_000);
  expect(JSON.parse(stdout), stderr).toStrictEqual({ told: ["ok", "JOURNAL", "JOURNAL", "JOURNAL"], health: "failed" });
  const { journal, opening } = await open(directory.path);
  await using _ = journal;
  expect(opening.repair.kind).toBe("none");
  expect(opening.records[0]?.data["n"]).toBe(1);
});
