/** Nobody can make a process that really cannot be killed: here the kernel's kill is replaced, all else is real. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { type Clock, systemClock } from "../../../src/common/clock.ts";
import { silentLogger } from "../../../src/common/logger.ts";
import { newToken } from "../../../src/common/token.ts";
import { identityOf } from "../../../src/runner/identity.ts";
import { sendSignal } from "../../../src/runner/process-tree.ts";
import { Stopper } from "../../../src/runner/stop.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { isAlive } from "../../helpers/processes.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";

failOnLeakedProcesses();

const order = { graceMs: 1_000, reason: "test" };

/** A hundred times as fast as ours; each sleep lets others have their turn. */
function hurriedClock(): Clock {
  let now = 0;
  return {
    now: () => Date.now(),
    monotonic: () => now,
    sleep: async (ms) => {
      now += ms * 100;
      await systemClock.sleep(1);
    },
  };
}

it("D5: what lives a minute after KILL is named with its state, by every further order too, until it is gone", async () => {
  await using directory = await temporaryDirectory();
  const token = newToken();
  const sleeper = spawn("setsid", ["sleep", "61"], {
    stdio: "ignore",
    env: { SITEAGENT_ATTEMPT_TOKEN: token, PATH: process.env["PATH"] },
  });
  const over = once(sleeper, "exit");
  const pid = sleeper.pid ?? 0;
  const identity = identityOf(pid);
  if (!identity) throw new Error("no process");
  await mkdir(directory.join("started"));
  const { startTicks, bootId, pidNamespace, machineId, atMs } = identity;
  for (const name of ["recorder", "job"])
    await writeFile(directory.join(name), `1 ${pid} ${startTicks} ${bootId} ${pidNamespace} ${machineId} ${atMs} sh\n`);
  const sent: string[] = [];
  let deaf = true;
  const stopper = new Stopper(
    hurriedClock(),
    silentLogger,
    () => {},
    (target, signal) => {
      sent.push(signal);
      return deaf || sendSignal(target, signal);
    },
  );
  const name = { token, directory: directory.path };
  expect(await stopper.stop(name, order)).toEqual({ state: "stopping" });
  await waitFor(() => !stopper.busy, { what: "the end of its patience" });
  expect(sent).toContain("SIGTERM");
  expect(sent.filter((signal) => signal === "SIGKILL").length).toBeGreaterThan(5);
  const remaining = {
    state: "remaining",
    pids: [pid],
    why: expect.stringMatching(new RegExp(`^${pid} \\(state [SD]`)),
  };
  expect(await stopper.stop(name, order)).toEqual(remaining);
  expect(await stopper.stop(name, order)).toEqual(remaining);
  expect(isAlive(pid)).toBe(true);
  deaf = false;
  sendSignal(pid, "SIGKILL");
  await over;
  await waitFor(async () => (await stopper.stop(name, order)).state === "gone", { what: "gone" });
});
