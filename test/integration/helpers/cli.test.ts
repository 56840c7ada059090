import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { cleanEnvironment, repository, runCli, startCli } from "../../helpers/cli.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { isAlive } from "../../helpers/processes.ts";
import { Program } from "../../helpers/program.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";

failOnLeakedProcesses();

describe("runCli and startCli", () => {
  it("run bin/siteagent of this repository", async () => {
    const { version } = JSON.parse(await readFile(join(repository, "package.json"), "utf8")) as { version: string };
    expect(await runCli(["version"])).toMatchObject({ code: 0, signal: undefined });
    await using home = await temporaryDirectory();
    await using program = await startCli(["version"], { home: home.path });
    expect((await program.output(/siteagent (\S+)/))[1]).toBe(version);
  });
});

describe("Program", () => {
  it.each(["SIGTERM", "SIGINT", "SIGHUP"] as const)("ends with the process that started it at %s", async (signal) => {
    const module = JSON.stringify(join(repository, "test", "helpers", "program.ts"));
    const source = `const { Program } = await import(${module});
      console.log("pid " + (await Program.start("sleep", ["103"])).pid);`;
    await using starter = await Program.start(process.execPath, ["--input-type=module", "-e", source], {
      env: cleanEnvironment("/"),
    });
    const pid = Number((await starter.output(/^pid (\d+)$/m))[1]);
    expect(isAlive(pid)).toBe(true);
    starter.signal(signal);
    expect(await starter.finished).toMatchObject({ signal });
    await waitFor(() => !isAlive(pid), { what: "the end of sleep" });
  });
});
