/** What every host promises (src/hosts/types.ts), on real processes and files of this machine, whichever way leads there. */
import { like } from "../check.ts";
import { callContext, type Suite } from "../suite.ts";
import type { HostHarness } from "./commands.ts";
import { confines } from "./confines.ts";
import { directories } from "./directories.ts";
import { ends } from "./ends.ts";
import { files } from "./files.ts";
import { runs } from "./runs.ts";

export type { HostHarness } from "./commands.ts";

export const hostSuite: Suite<HostHarness> = {
  type: "host",
  groups: {
    probes: [{ name: "works here", run: async ({ host }) => like(await host.probe(callContext()), { ok: true }) }],
    runs,
    ends,
    files,
    directories,
    confines,
  },
  abilities: {},
  lacking: () => [],
  shared: true,
  timeoutMs: 60_000,
};
