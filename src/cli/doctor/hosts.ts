import { systemClock } from "../../common/clock.ts";
import { silentLogger } from "../../common/logger.ts";
import { probeRemoteHosts } from "../../compose-hosts.ts";
import type { Site } from "../../config/types.ts";
import { withSite } from "./site.ts";
import { type Check, failing, type Finding, ok, skipped } from "./types.ts";

/** Ends before the check would be called broken: what was found until then is said. */
const probeMs = 18_000;

/** Checks that log in to the hosts of the site file, with the agent's own keys: one login at each. */
export const hostChecks: readonly Check[] = [
  {
    id: "ssh-hosts",
    title: "Hosts by SSH",
    area: "site",
    run: withSite((site, { signal }) => remoteHosts(site, signal)),
  },
];

async function remoteHosts(site: Site, signal: AbortSignal): Promise<Finding> {
  const ended = AbortSignal.any([signal, AbortSignal.timeout(probeMs)]);
  const found = await probeRemoteHosts(site, { signal: ended, log: silentLogger, clock: systemClock });
  if (found.length === 0) return skipped("no host of the site file is reached by SSH");
  const bad = found.flatMap(({ host, probe }) => (probe.ok ? [] : [{ host, ...probe }]));
  const [first] = bad;
  if (!first) {
    return ok(found.map(({ host, probe }) => `'${host}': ${probe.ok ? probe.version : probe.reason}`).join(", "));
  }
  return failing(
    bad.map(({ host, reason }) => `'${host}': ${reason}`).join("; "),
    "jobs of its targets wait, running ones are not harmed",
    first.hint ?? "repair it as the message says, then: siteagent doctor",
  );
}
