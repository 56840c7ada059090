/** What every transfer adapter promises to the engine (src/transfer/types.ts). */
import type { Suite } from "../suite.ts";
import { destinations } from "./destinations.ts";
import type { TransferHarness } from "./files.ts";
import { general } from "./general.ts";
import { sources } from "./sources.ts";

export type { TransferHarness } from "./files.ts";

export const transferSuite: Suite<TransferHarness> = {
  type: "transfer",
  groups: { sources, destinations, "every verb": general },
  abilities: {
    resume: "reading begins at an offset",
    stream:
      "files are read and written one by one; without it they move many at a time, and through no process of ours",
    list: "directories and globs are listed",
    write: "files are written",
    digest: "the far side tells the SHA-256 of what lies there",
  },
  lacking: ({ adapter: { capabilities, bulk }, anywhere = false }) => [
    ...(["resume", "list", "write", "digest"] as const).filter((ability) => !capabilities[ability]),
    ...(bulk?.leastFiles === 1 && !anywhere ? ["stream"] : []),
  ],
  shared: false,
  timeoutMs: 60_000,
};
