/** What every launcher promises (src/launchers/types.ts), proven on real processes. */
import type { Suite } from "../suite.ts";
import type { LauncherHarness } from "./attempts.ts";
import { ends } from "./ends.ts";
import { environments } from "./environment.ts";
import { starts } from "./starts.ts";
import { stops } from "./stops.ts";

export type { LauncherHarness } from "./attempts.ts";

export const launcherSuite: Suite<LauncherHarness> = {
  type: "launcher",
  groups: { starts, ends, stops, environment: environments },
  abilities: {},
  lacking: () => [],
  shared: true,
  timeoutMs: 60_000,
};
