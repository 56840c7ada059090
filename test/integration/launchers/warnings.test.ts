import { expect, test } from "vitest";
import type { LauncherHarness } from "../../../src/conformance/launcher/index.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { launchOne, makePlan, readOut, stopped, untilState } from "./attempts.ts";
import { batchHarness } from "./batch-harness.ts";
import { localHarness } from "./local-harness.ts";
import { pilotHarness } from "./pilot-harness.ts";

failOnLeakedProcesses();

const makers: Readonly<Record<string, () => Promise<LauncherHarness>>> = {
  local: () => localHarness(),
  batch: () => batchHarness(),
  pilot: () => pilotHarness(),
};

test(
  "every launcher has attempts warned before their time limit, and what they make of it is theirs",
  { timeout: 90_000 },
  async () => {
    const script = "trap 'echo saved; exit 3' USR1; echo ready; while :; do sleep 0.1 || :; done";
    const warning = { signal: "SIGUSR1", beforeMs: 116_000, to: "all" } as const;
    const ends = Object.entries(makers).map(async ([name, make]) => {
      await using harness = await make();
      const plan = await makePlan(harness.root, script, { limitMs: 120_000, warning });
      const ref = await launchOne(harness.launcher, plan);
      const { end } = await untilState(harness.launcher, ref, "ended", 60_000);
      await stopped(harness.launcher, ref);
      return [name, end.cause, end.exit_code, await readOut(plan)];
    });
    const expected = Object.keys(makers).map((name) => [name, "exit", 3, "ready\nsaved\n"]);
    expect(await Promise.all(ends)).toEqual(expected);
  },
);
