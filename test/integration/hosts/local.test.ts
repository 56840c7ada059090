import { readFile, writeFile } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../../src/common/clock.ts";
import type { CallContext } from "../../../src/common/context.ts";
import { isFault } from "../../../src/common/fault.ts";
import { silentLogger } from "../../../src/common/logger.ts";
import { LocalHost } from "../../../src/hosts/local/index.ts";
import type { RunRequest } from "../../../src/hosts/types.ts";
import { isAlive } from "../../helpers/processes.ts";
import { type TemporaryDirectory, temporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";

let directory: TemporaryDirectory;
let host: LocalHost;
beforeEach(async () => {
  directory = await temporaryDirectory();
  host = new LocalHost({ name: "here", workdir: directory.join("work") });
});
afterEach(async () => {
  await directory[Symbol.asyncDispose]();
});

function contextOf(signal: AbortSignal = new AbortController().signal): CallContext {
  return { signal, log: silentLogger, clock: systemClock };
}

function shell(script: string, change: Partial<RunRequest> = {}): RunRequest {
  return {
    argv: ["/bin/sh", "-c", script],
    cwd: directory.path,
    environment: { PATH: "/usr/bin:/bin" },
    timeoutMs: 30_000,
    maxOutputBytes: 65_536,
    ...change,
  };
}

async function pidIn(name: string): Promise<number> {
  return waitFor(async () => Number(await readFile(directory.join(name), "utf8")), { what: `a pid in ${name}` });
}

describe("LocalHost.run", () => {
  it("gives output and exit code", async () => {
    const result = await host.run(shell("echo out; echo err >&2; exit 3"), contextOf());
    expect(result).toEqual({
      exitCode: 3,
      signal: undefined,
      stdout: "out\n",
      stderr: "err\n",
      truncated: false,
      timedOut: false,
    });
  });

  it("tells the signal that ended a command", async () => {
    expect(await host.run(shell("kill -SEGV $$"), contextOf())).toMatchObject({
      exitCode: undefined,
      signal: "SIGSEGV",
    });
  });

  it("hands on nothing of its own environment", async () => {
    process.env["LEAKING"] = "yes";
    try {
      const request = { argv: ["/usr/bin/env"] as const, environment: { A: "1" } };
      const { stdout } = await host.run(shell("", request), contextOf());
      const names = stdout.trim().split("\n").toSorted();
      // While coverage is counted Node hands its own variable to every child, whatever environment is given.
      expect(names.filter((line) => !line.startsWith("NODE_V8_COVERAGE="))).toEqual(["A=1", "LC_ALL=C"]);
    } finally {
      delete process.env["LEAKING"];
    }
  });

  it("passes arguments as they are and runs in the given directory", async () => {
    const odd = "a b; $(touch pwned) 'x' \"y\" *";
    const { stdout } = await host.run(
      shell("", { argv: ["/bin/sh", "-c", 'printf "%s|%s" "$1" "$PWD"', "sh", odd] }),
      contextOf(),
    );
    expect(stdout).toBe(`${odd}|${directory.path}`);
  });

  it("gives standard input, or none", async () => {
    expect(await host.run(shell("cat", { stdin: "zwölf\n" }), contextOf())).toMatchObject({ stdout: "zwölf\n" });
    expect(await host.run(shell("cat"), contextOf())).toMatchObject({ stdout: "", exitCode: 0 });
    const unread = await host.run(shell("exit 0", { stdin: "x".repeat(1_000_000) }), contextOf());
    expect(unread.exitCode).toBe(0);
  });

  it("keeps output up to the limit and lets the command finish", async () => {
    const script = "i=0; while [ $i -lt 20000 ]; do echo 0123456789; i=$((i+1)); done; echo end >&2";
    const result = await host.run(shell(script, { maxOutputBytes: 1000 }), contextOf());
    expect(result).toMatchObject({ exitCode: 0, truncated: true, stderr: "end\n" });
    expect(result.stdout).toHaveLength(1000);
  });

  it("ends the whole group when the time is over, also what ignores TERM", async () => {
    const script = `trap "" TERM; (trap "" TERM; echo $$ > leader; exec sleep 300) & echo $! > child; wait; sleep 300`;
    const result = await host.run(shell(script, { timeoutMs: 300 }), contextOf());
    expect(result).toMatchObject({ timedOut: true, exitCode: undefined, signal: "SIGKILL" });
    const pids = [await pidIn("leader"), await pidIn("child")];
    await waitFor(() => pids.every((pid) => !isAlive(pid)), { what: "the group to be gone" });
  });

  it("lets a command end by itself within the grace after its time is over", async () => {
    const result = await host.run(
      shell("trap 'echo bye; exit 7' TERM; sleep 300 & wait", { timeoutMs: 300 }),
      contextOf(),
    );
    expect(result).toMatchObject({ timedOut: true, exitCode: 7, stdout: "bye\n" });
  });

  it("leaves nothing of the group behind when the command ends well", async () => {
    const { exitCode } = await host.run(shell("sleep 300 & echo $! > child; exit 0"), contextOf());
    expect(exitCode).toBe(0);
    const pid = await pidIn("child");
    await waitFor(() => !isAlive(pid), { what: "the child to be gone" });
  });

  it("ends the group and throws CANCELLED when the context aborts", async () => {
    const controller = new AbortController();
    const running = host.run(shell("echo $$ > leader; sleep 300"), contextOf(controller.signal));
    const pid = await pidIn("leader");
    controller.abort();
    await expect(running).rejects.toSatisfy((error) => isFault(error, "CANCELLED"));
    await waitFor(() => !isAlive(pid), { what: "the command to be gone" });
    await expect(host.run(shell("touch late"), contextOf(controller.signal))).rejects.toSatisfy((error) =>
      isFault(error, "CANCELLED"),
    );
  });

  it.each<[string, Partial<RunRequest>, RegExp]>([
    ["a program that is not there", { argv: ["no-such-program"] }, /'no-such-program' could not be started: ENOENT/],
    [
      "a directory that is not there",
      { cwd: "/no/such/directory" },
      /directory '\/no\/such\/directory' does not exist/,
    ],
    ["a file that is no program", { argv: ["/etc/passwd"] }, /EACCES/],
    ["an argument with NUL", { argv: ["/bin/echo", "a\0b"] }, /ERR_INVALID_ARG_VALUE/],
    ["arguments that Linux does not take", { argv: ["/bin/echo", "x".repeat(200_000)] }, /E2BIG/],
  ])("throws LAUNCH for %s", async (_what, change, message) => {
    const error: unknown = await host.run(shell("", change), contextOf()).catch((caught: unknown) => caught);
    expect(isFault(error, "LAUNCH")).toBe(true);
    expect(String(error)).toMatch(message);
  });
});

describe("LocalHost.probe", () => {
  it("is well when its work directory is there or can be made", async () => {
    expect(await host.probe()).toMatchObject({ ok: true, version: expect.stringMatching(/^linux \d/) as string });
  });

  it("names the place where it cannot have a work directory", async () => {
    const file = directory.join("file");
    await writeFile(file, "");
    const probe = await new LocalHost({ name: "x", workdir: `${file}/work` }).probe();
    expect(probe).toMatchObject({ ok: false, reason: expect.stringContaining(`'${file}'`) as string });
  });
});
