import { mkdir, writeFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { isFault } from "../../../src/common/fault.ts";
import { newToken } from "../../../src/common/token.ts";
import { refusalOf } from "../../../src/launchers/local/check-plan.ts";
import { createLocalLauncher } from "../../../src/launchers/local/index.ts";
import { runnerCommand } from "../../../src/launchers/local/start-runner.ts";
import type { AttemptPlan } from "../../../src/launchers/types.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";

const plan: AttemptPlan = {
  token: newToken(),
  attempt: 1,
  directory: "/nowhere/attempt",
  workDirectory: "/nowhere/work",
  argv: ["sh", "-c", "true"],
  environment: { PATH: "/usr/bin:/bin" },
  runtime: "plain",
  umask: 0o077,
  limitMs: undefined,
  graceMs: 500,
  maxOutputBytes: 1024,
  resources: { nodes: 1, ranks_per_node: 1, threads_per_rank: 1, gpus: 0 },
};

async function messageOf(change: Partial<AttemptPlan>, pty = true): Promise<string> {
  const refusal = await refusalOf({ ...plan, ...change }, pty);
  return refusal?.state === "refused" ? (refusal.end.message ?? "") : "accepted";
}

describe("a plan that can never start is refused before anything runs", () => {
  test("a good one is not", async () => expect(await messageOf({})).toBe("accepted"));

  test("all problems at once", async () => {
    const message = await messageOf(
      { argv: ["a=b", "x".repeat(131_072), "nul\0"], directory: "relative", runtime: "pty", environment: {} },
      false,
    );
    for (const part of ["argv[0] 'a=b'", "argv[1] has 131072 bytes", "argv[2] holds a NUL", "'relative'", "node-pty"]) {
      expect(message).toContain(part);
    }
  });

  test("arguments that are too large together", async () => {
    const argv = ["sh", ...Array.from({ length: 20 }, () => "x".repeat(120_000))] as [string, ...string[]];
    expect(await messageOf({ argv })).toMatch(/arguments and environment have \d+ bytes together; allowed: \d+/);
  });

  test("the command: missing, a directory, not executable, relative to the work directory", async () => {
    await using directory = await temporaryDirectory();
    await mkdir(directory.join("folder"));
    await writeFile(directory.join("plain"), "", { mode: 0o600 });
    await writeFile(directory.join("program"), "", { mode: 0o700 });
    const environment = { PATH: directory.path };
    const workDirectory = directory.path;
    expect(await messageOf({ argv: ["nonesuch"], environment })).toContain(
      `'nonesuch' was not found in PATH '${directory.path}'`,
    );
    expect(await messageOf({ argv: ["folder"], environment })).toContain("is not an executable file");
    expect(await messageOf({ argv: [directory.join("plain")] })).toContain("is not an executable file");
    expect(await messageOf({ argv: ["./program"], workDirectory })).toBe("accepted");
    expect(await messageOf({ argv: ["program"], environment })).toBe("accepted");
  });
});

describe("the runner's command line", () => {
  const start = {
    nodePath: "/opt/node",
    socketPath: "/run/x/runner.sock",
    stateDirectory: "/var/x",
    containment: "auto",
    idleMs: 5,
    openFiles: 1024,
  } as const;

  test("holds the lock without a process of its own", () => {
    const command = runnerCommand(start, { systemd: false, root: true });
    expect(command.slice(0, 5)).toEqual(["flock", "--nonblock", "--no-fork", "/run/x/runner.sock.lock", "/opt/node"]);
  });

  test("bounds the young generation of its memory, wherever it is started", () => {
    for (const systemd of [false, true]) {
      const command = runnerCommand(start, { systemd, root: true });
      expect(command[command.indexOf("/opt/node") + 1]).toBe("--max-semi-space-size=1");
    }
  });

  test("leaves the agent's unit by a scope of its own", () => {
    const root = runnerCommand(start, { systemd: true, root: true });
    expect(root.slice(0, 7)).toEqual([
      "systemd-run",
      "--scope",
      "--quiet",
      "--collect",
      "--property=Delegate=yes",
      "--",
      "flock",
    ]);
    expect(runnerCommand(start, { systemd: true, root: false }).slice(0, 3)).toEqual([
      "systemd-run",
      "--user",
      "--scope",
    ]);
  });
});

test("a socket path that no socket can have is refused at once, with a hint", () => {
  const make = () => createLocalLauncher({ stateDirectory: `/${"x".repeat(120)}` });
  expect(make).toThrow(
    expect.toSatisfy((error) => isFault(error, "CONFIG") && (error.hint ?? "").includes("RUNTIME_DIR")),
  );
});
