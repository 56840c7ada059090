import type { Clock } from "../common/clock.ts";
import type { Logger } from "../common/logger.ts";
import type { Central } from "../central/types.ts";
import type { Site } from "../config/types.ts";
import type { Host } from "../hosts/types.ts";
import type { Launcher } from "../launchers/types.ts";
import type { HubOutputs } from "./hub-outputs.ts";
import type { Machine } from "./machine.ts";
import type { InputCacheControl, TransferEngine } from "../transfer/types.ts";

/** What the daemon is built from; src/compose.ts makes it for one site configuration. */
export interface SiteParts extends AsyncDisposable {
  readonly site: Site;
  readonly hosts: ReadonlyMap<string, Host>;
  /** This machine, where hooks that are modules run, wherever the target's host is. */
  readonly here: Host;
  /** By target name. */
  readonly launchers: ReadonlyMap<string, Launcher>;
  readonly transfers: TransferEngine;
  /** Undefined: the site has none. */
  readonly cache?: InputCacheControl | undefined;
  /** What of the logins at other machines is about to run out, or has, in words. Never rejects. */
  readonly endings?: () => Promise<readonly string[]>;
}

export interface AgentDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly machine: Machine;
  readonly version: string;
  /** Called once, when the state directory is ours. Asks nothing yet: central may be down. */
  readonly openCentral: (site: Site, agentId: string) => Promise<Central>;
  /** Reads the site file and builds the parts; called at start and at each reload. Throws Fault CONFIG and changes nothing then. */
  readonly loadParts: () => Promise<SiteParts>;
  /** The parts of the last site file that was good; undefined when none was kept. For a start with a broken one. */
  readonly loadLastGood: () => Promise<SiteParts | undefined>;
  /** Where outputs without destination go; also part of the transfer registry. */
  readonly hubOutputs: HubOutputs;
  /** The last log lines, for status. */
  readonly recentLog: () => readonly string[];
}
