import { describeLauncher } from "../../conformance/launcher.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { batchHarness } from "./batch-harness.ts";

failOnLeakedProcesses();

describeLauncher("batch", () => batchHarness({ arrays: true }));
