import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { program, run } from "./lambda-run.ts";

describe("flaky.sh", () => {
  it.each(["1", "2"])("exits 75 in attempt %s of three", async (attempt) => {
    const ended = await run([program("flaky.sh"), "3", "echo", "ran"], { SITEAGENT_ATTEMPT: attempt });
    expect(ended).toMatchObject({ code: 75, stdout: "" });
    expect(ended.stderr).toBe(`flaky: attempt ${attempt} fails on purpose; attempt 3 will run the command\n`);
  });

  it("hands over to the command with its arguments and exit code from the named attempt on", async () => {
    const command = [program("flaky.sh"), "2", "sh", "-c", 'printf "%s|" "$@"; exit 7', "sh", "a b", "$HOME", ""];
    for (const attempt of ["2", "10"]) {
      expect(await run(command, { SITEAGENT_ATTEMPT: attempt })).toMatchObject({
        code: 7,
        stdout: "a b|$HOME||",
        stderr: "",
      });
    }
  });

  it("takes a missing number of the attempt as the first", async () => {
    expect((await run([program("flaky.sh"), "2", "true"])).code).toBe(75);
    expect((await run([program("flaky.sh"), "1", "true"])).code).toBe(0);
  });

  it.each(["flaky.sh", "slow.sh"])("%s refuses what is no number", async (name) => {
    const inFirst = await run([program(name), "two", "true"]);
    expect(inFirst.code).toBe(64);
    expect(inFirst.stderr).toContain("'two' is not a whole number");
    const inAttempt = await run([program(name), "2", "true"], { SITEAGENT_ATTEMPT: "x" });
    expect(inAttempt.code).toBe(64);
    expect((await run([program(name), "2"])).code).toBe(64);
  });
});

describe("slow.sh", () => {
  it("runs the command at once in later attempts", async () => {
    const ended = await run([program("slow.sh"), "3600", "echo", "ran"], { SITEAGENT_ATTEMPT: "2" });
    expect(ended).toMatchObject({ code: 0, stdout: "ran\n", stderr: "" });
  });

  it("runs the command after its sleep in the first attempt", async () => {
    const ended = await run([program("slow.sh"), "0", "echo", "ran"], { SITEAGENT_ATTEMPT: "1" });
    expect(ended).toMatchObject({ code: 0, stdout: "ran\n", stderr: "slow: attempt 1 sleeps 0 seconds on purpose\n" });
  });

  it("ends at a TERM during its sleep and takes the sleep along", async () => {
    const env = { PATH: process.env["PATH"] ?? "", SITEAGENT_ATTEMPT: "1" };
    const child = spawn(program("slow.sh"), ["3600", "echo", "ran"], { env, stdio: ["ignore", "pipe", "pipe"] });
    // `close` comes only when nobody, the sleep included, holds the pipes any more.
    const closed = once(child, "close");
    await once(child.stderr, "data");
    child.kill("SIGTERM");
    child.stdout.resume();
    expect(await closed).toEqual([143, null]);
  });
});
