import type { Probe } from "../../common/adapter.ts";
import { systemClock } from "../../common/clock.ts";
import { silentLogger } from "../../common/logger.ts";
import { probeGlobus } from "../../compose-globus.ts";
import { endingCertificates, probeRemoteHosts, probeRemotes } from "../../compose-hosts.ts";
import { probeStores } from "../../compose-stores.ts";
import type { Site } from "../../config/types.ts";
import { withSite } from "./site.ts";
import { type Check, failing, type Finding, ok, skipped, warning } from "./types.ts";

/** Ends before the check would be called broken: what was found until then is said. */
const probeMs = 18_000;

/** Checks that log in to the hosts and stores of the site file, with the agent's own keys: one login at each. */
export const hostChecks: readonly Check[] = [
  {
    id: "ssh-hosts",
    title: "Hosts by SSH",
    area: "site",
    run: withSite((site, { signal }) => remoteHosts(site, signal)),
  },
  {
    id: "remotes",
    title: "Remotes by SSH",
    area: "site",
    run: withSite((site, { signal }) => remotes(site, signal)),
  },
  {
    id: "object-stores",
    title: "Remotes by S3",
    area: "site",
    run: withSite((site, { signal }) => objectStores(site, signal)),
  },
  { id: "ssh-certificates", title: "Certificates of logins", area: "site", run: withSite(certificates) },
  {
    id: "globus",
    title: "Globus collection",
    area: "site",
    run: withSite((site, { signal }) => globus(site, signal)),
  },
];

async function certificates(site: Site): Promise<Finding> {
  const endings = await endingCertificates(site);
  if (endings.length === 0) return ok("none that is about to run out");
  const why = "then no login works: staging and submissions wait, running jobs go on";
  return warning(endings.join("; "), why, "get a new one as the centre describes it; a reload is not needed");
}

async function globus(site: Site, signal: AbortSignal): Promise<Finding> {
  const ended = AbortSignal.any([signal, AbortSignal.timeout(probeMs)]);
  const probe = await probeGlobus(site, { signal: ended, log: silentLogger, clock: systemClock });
  if (!probe) return skipped("the site file names no collection of its own");
  return findingOf([{ name: site.globus?.collection ?? "", probe }], "inputs and outputs by globus: URLs wait");
}

async function objectStores(site: Site, signal: AbortSignal): Promise<Finding> {
  const ended = AbortSignal.any([signal, AbortSignal.timeout(probeMs)]);
  const found = await probeStores(site, { signal: ended, log: silentLogger, clock: systemClock });
  if (found.length === 0) return skipped("no remote of the site file is an object store");
  return findingOf(
    found.map(({ remote, probe }) => ({ name: remote, probe })),
    "inputs from it and outputs to it wait or fail",
  );
}

async function remotes(site: Site, signal: AbortSignal): Promise<Finding> {
  const ended = AbortSignal.any([signal, AbortSignal.timeout(probeMs)]);
  const found = await probeRemotes(site, { signal: ended, log: silentLogger, clock: systemClock });
  if (found.length === 0) return skipped("no remote of the site file is reached by SSH");
  return findingOf(
    found.map(({ remote, probe }) => ({ name: remote, probe })),
    "inputs from it and outputs to it wait",
  );
}

/** One finding of all, with the first remedy. */
function findingOf(found: readonly { readonly name: string; readonly probe: Probe }[], why: string): Finding {
  const bad = found.flatMap(({ name, probe }) => (probe.ok ? [] : [{ name, ...probe }]));
  const [first] = bad;
  if (!first) return ok(found.map(({ name, probe }) => `'${name}': ${probe.ok ? probe.version : ""}`).join(", "));
  return failing(
    bad.map(({ name, reason }) => `'${name}': ${reason}`).join("; "),
    why,
    first.hint ?? "repair it as the message says, then: siteagent doctor",
  );
}

async function remoteHosts(site: Site, signal: AbortSignal): Promise<Finding> {
  const ended = AbortSignal.any([signal, AbortSignal.timeout(probeMs)]);
  const found = await probeRemoteHosts(site, { signal: ended, log: silentLogger, clock: systemClock });
  if (found.length === 0) return skipped("no host of the site file is reached by SSH");
  return findingOf(
    found.map(({ host, probe }) => ({ name: host, probe })),
    "jobs of its targets wait, running ones are not harmed",
  );
}
