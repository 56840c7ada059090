import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../../src/common/clock.ts";
import { createLocalLauncher } from "../../../src/launchers/local/index.ts";
import { RunnerClient } from "../../../src/launchers/local/runner-client.ts";
import { cleanEnvironment, repository } from "../../helpers/cli.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { Program } from "../../helpers/program.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { launchOne, makePlan, untilState } from "../launchers/attempts.ts";

// systemd-socket-activate comes with systemd-analyze.
describeWithEngine("systemd-analyze", "a runner that its socket unit starts", () => {
  test("is started by the first connection, runs attempts, and the launcher starts none of its own", async () => {
    const directory = await temporaryDirectory("sa-unit-");
    onTestFinished(() => directory[Symbol.asyncDispose]());
    const socket = directory.join("runner.sock");
    const [state, agentState] = [directory.join("runner"), directory.join("agent")];
    const command = [process.execPath, join(repository, "src", "main.ts"), "runner", "--socket", socket];
    const unit = await Program.start(
      "systemd-socket-activate",
      ["--listen", socket, ...command, "--state", state, "--idle-ms", "300"],
      { env: cleanEnvironment(directory.path), input: "" },
    );
    onTestFinished(async () => void (await unit.stop()));
    await unit.output(/Listening on/, { stream: "stderr" });
    const launcher = createLocalLauncher({ stateDirectory: agentState, runnerSocket: socket });
    const plan = await makePlan(directory.path, "exit 3");
    const ref = await launchOne(launcher, plan);
    expect((await untilState(launcher, ref, "ended")).end).toMatchObject({ cause: "exit", exit_code: 3 });
    expect(existsSync(join(agentState, "runner.log"))).toBe(false);
    await launcher[Symbol.asyncDispose]();
    expect(await unit.finished).toMatchObject({ code: 0 });
    expect(existsSync(socket)).toBe(true); // the socket is systemd's: the next connection starts the next runner
  });
});

test("a runner's unit that is not there is a fault that names it, and no runner is started instead", async () => {
  await using directory = await temporaryDirectory("sa-unit-");
  let nowMs = 0;
  const clock = {
    ...systemClock,
    monotonic: () => nowMs,
    sleep: async (ms: number) => {
      nowMs += ms;
    },
  };
  const client = new RunnerClient({
    socketPath: directory.join("missing", "runner.sock"),
    clock,
    start: undefined,
    onChange: () => {},
    onLost: () => {},
  });
  await expect(client.connect()).rejects.toMatchObject({ code: "RUNNER", hint: expect.stringContaining("systemctl") });
  expect(existsSync(directory.join("missing"))).toBe(false);
});
