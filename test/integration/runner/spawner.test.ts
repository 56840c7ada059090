/** The process that forks recorders: it costs no attempt its end, whenever it or its runner dies. */
import { rm } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { chooseRecorder, installRecorders } from "../../../src/runner/recorders.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { descendantsOf, isAlive, listProcesses } from "../../helpers/processes.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";
import { launchOne, makePlan, untilState } from "../launchers/attempts.ts";
import { localHarness, type LocalHarness } from "../launchers/local-harness.ts";

failOnLeakedProcesses();

await using directory = await temporaryDirectory();
const hasPerl = chooseRecorder(await installRecorders(directory.path), "auto").serve !== undefined;
await rm(directory.path, { recursive: true });

/** Its pid: the only child of the runner. */
function spawnerOf(harness: LocalHarness): number {
  const [runner = 0] = harness.runners();
  const found = descendantsOf(runner, listProcesses()).find(({ command }) => command.endsWith(" --serve"));
  if (!found) throw new Error("no process forks recorders");
  return found.pid;
}

const waits = "until [ -e go ]; do sleep 0.05; done; exit 4";

describe.skipIf(!hasPerl)("the process that forks recorders", () => {
  test("killed: what runs goes on and its end is seen, the next start makes another", async () => {
    await using harness = await localHarness();
    const first = await makePlan(harness.root, waits);
    const ref = await launchOne(harness.launcher, first);
    const before = spawnerOf(harness);
    process.kill(before, "SIGKILL");
    await waitFor(() => !isAlive(before), { what: "its end" });
    await untilState(harness.launcher, ref, "running");
    const second = await makePlan(harness.root, "exit 3");
    const next = await launchOne(harness.launcher, second);
    expect((await untilState(harness.launcher, next, "ended")).end.exit_code).toBe(3);
    expect(spawnerOf(harness)).not.toBe(before);
    const third = await makePlan(harness.root, `touch ${first.workDirectory}/go`);
    await launchOne(harness.launcher, third);
    expect((await untilState(harness.launcher, ref, "ended")).end.exit_code).toBe(4);
  });

  test("ends with its runner, and its recorders do not", async () => {
    await using harness = await localHarness();
    const plan = await makePlan(harness.root, waits);
    const ref = await launchOne(harness.launcher, plan);
    const pid = spawnerOf(harness);
    await harness.killRunner();
    await waitFor(() => !isAlive(pid), { what: "its end" });
    const later = harness.reopen();
    await untilState(later, ref, "running");
    await launchOne(later, await makePlan(harness.root, `touch ${plan.workDirectory}/go`));
    expect((await untilState(later, ref, "ended")).end.exit_code).toBe(4);
  });

  test("a recorder that is killed is noticed by it", async () => {
    await using harness = await localHarness();
    const ref = await launchOne(harness.launcher, await makePlan(harness.root, "sleep 0.5"));
    const [recorder] = descendantsOf(spawnerOf(harness), listProcesses());
    process.kill(recorder?.pid ?? 0, "SIGKILL");
    expect((await untilState(harness.launcher, ref, "ended")).end.cause).toBe("status-lost");
  });
});
