import { describe, expect, it } from "vitest";
import { runCli } from "../../helpers/cli.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { hostModule, launcherModule, transferModule, writeModule } from "./own-modules.ts";

interface Report {
  readonly type: string;
  readonly contract: number;
  readonly passed: boolean;
  readonly cases: readonly {
    readonly group: string;
    readonly name: string;
    readonly state: string;
    readonly reason?: string;
  }[];
}

/** Tries a module with the cases that have one of these texts in their titles. */
async function tried(
  text: string,
  ...cases: readonly string[]
): Promise<{ readonly code: number | undefined; readonly report: Report }> {
  await using directory = await temporaryDirectory();
  const module = await writeModule(directory, "own.mjs", text);
  const only = cases.flatMap((part) => ["--case", part]);
  const { code, stdout, stderr } = await runCli(["conformance", module, ...only, "-o", "json"], { timeoutMs: 120_000 });
  expect(stderr).toBe("");
  return { code, report: JSON.parse(stdout) as Report };
}

describe("siteagent conformance", () => {
  it("tries a transfer, each case in a place of its own", async () => {
    const { code, report } = await tried(transferModule);
    expect(report.cases.filter(({ state }) => state === "failed")).toEqual([]);
    expect(report).toMatchObject({ type: "transfer", contract: 1, passed: true });
    expect(report.cases.map(({ state }) => state)).toContain("not-applicable");
    expect(code).toBe(0);
  });

  it("tries a launcher", async () => {
    const { code, report } = await tried(launcherModule, "works here", "D9", "BAL-15", "environment:");
    expect(report.cases.filter(({ state }) => state !== "passed")).toEqual([]);
    expect(report.cases.length).toBeGreaterThan(10);
    expect(code).toBe(0);
  });

  it("tries a host", async () => {
    const { code, report } = await tried(hostModule(), "works here", "gives", "confines:");
    expect(report.cases.filter(({ state }) => state !== "passed")).toEqual([]);
    expect(report.cases.length).toBeGreaterThan(10);
    expect(code).toBe(0);
  });

  it("finds a host that adds a line end, and says what it found", async () => {
    const around = `{
      kind: "own", name: host.name, workdir: host.workdir, files: host.files, probe: () => host.probe(),
      run: async (...given) => ({ ...(await host.run(...given)), stdout: "x\\n" }),
      [Symbol.asyncDispose]: async () => {},
    }`;
    const { code, report } = await tried(hostModule(around), "without adding or losing a line end", "works here");
    expect(code).toBe(1);
    expect(report).toMatchObject({
      passed: false,
      cases: [
        { group: "probes", state: "passed" },
        {
          group: "runs",
          state: "failed",
          reason: expect.stringContaining(`got { exitCode: 0, signal: undefined, stdout: 'x\\n'`),
        },
      ],
    });
  });

  it("ends with 78 and the reason when a module cannot be tried, 64 when no case is meant", async () => {
    await using directory = await temporaryDirectory();
    const module = await writeModule(directory, "own.mjs", hostModule().replace("contract: 1", "contract: 2"));
    const other = await runCli(["conformance", module]);
    expect(other).toMatchObject({ code: 78, stdout: "" });
    expect(other.stderr).toContain("siteagentAdapter.contract is '2'");
    expect(other.stderr).toContain("expected: 1: the version of the contract");
    const mute = await writeModule(directory, "mute.mjs", hostModule().replace("rehearse:", "unheard:"));
    expect(await runCli(["conformance", mute])).toMatchObject({
      code: 78,
      stderr: expect.stringContaining("has no 'rehearse'"),
    });
    const good = await writeModule(directory, "good.mjs", hostModule());
    expect(await runCli(["conformance", good, "--case", "nonesuch"])).toMatchObject({
      code: 64,
      stderr: expect.stringContaining("no case has 'nonesuch' in its title"),
    });
  });
});
