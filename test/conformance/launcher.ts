import { type LauncherHarness, launcherSuite } from "../../src/conformance/launcher/index.ts";
import { adapters, type LauncherName } from "./adapters.ts";
import { describeSuite } from "./suite.ts";

/** The suite of all launchers on one of them. */
export function describeLauncher(name: LauncherName, make: () => Promise<LauncherHarness>): void {
  describeSuite(launcherSuite, name, adapters.launcher[name], make);
}
