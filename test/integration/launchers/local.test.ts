import { describeLauncher } from "../../conformance/launcher.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { localHarness } from "./local-harness.ts";

failOnLeakedProcesses();

// The strongest tier that this machine has, and the two that every machine has.
describeLauncher("local", () => localHarness());
describeLauncher("local, subreaper", () => localHarness({ containment: "subreaper" }));
describeLauncher("local, portable recorder", () => localHarness({ containment: "group" }));
