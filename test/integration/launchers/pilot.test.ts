import { describeLauncher } from "../../conformance/launcher.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { launchOne, makePlan, untilState } from "./attempts.ts";
import { pilotHarness } from "./pilot-harness.ts";

failOnLeakedProcesses();

describeLauncher("pilot", async () => {
  const harness = await pilotHarness();
  // The allocation is there: what is launched goes to it at once.
  const first = await makePlan(harness.root, "exit 0");
  await untilState(harness.launcher, await launchOne(harness.launcher, first), "ended");
  return harness;
});
