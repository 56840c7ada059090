import { describe, expect, it } from "vitest";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { descendantsOf, listProcesses, readProcess } from "../../helpers/processes.ts";
import { Program } from "../../helpers/program.ts";

describe("failOnLeakedProcesses", () => {
  failOnLeakedProcesses();

  it("says nothing about a process that ended with the test", async () => {
    await using program = await Program.start("sleep", ["100"]);
    expect(descendantsOf(process.pid, listProcesses()).map((entry) => entry.pid)).toContain(program.pid);
  });
});

describe("readProcess", () => {
  it("tells this process and not one that is gone", () => {
    expect(readProcess(process.pid)).toMatchObject({ pid: process.pid, parent: process.ppid, cwd: process.cwd() });
    expect(readProcess(2 ** 22 + 1)).toBeUndefined();
  });
});
