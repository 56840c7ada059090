/**
 * The only place that builds concrete adapters: from a site file to a running agent.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { factsOf } from "./adapters/stand-in.ts";
import { openCentral } from "./central/discover.ts";
import type { Central } from "./central/types.ts";
import { Agent, type AgentEnd } from "./agent/agent.ts";
import type { AgentDeps, SiteParts } from "./agent/deps.ts";
import { thisMachine } from "./agent/machine.ts";
import { HubOutputs, hubScheme } from "./agent/hub-outputs.ts";
import { collectHere, collectWhenCalm, usedHere } from "./agent/calm.ts";
import { runWatchdog } from "./agent/watchdog.ts";
import { systemClock } from "./common/clock.ts";
import { asFault, errnoOf } from "./common/fault.ts";
import { durableReplace, removeUnfinished } from "./common/files.ts";
import type { Logger } from "./common/logger.ts";
import { RecentLog } from "./common/recent-log.ts";
import { takeServiceManager } from "./common/systemd.ts";
import { loadSite, parseSite } from "./config/compile.ts";
import { keepLastGood, readLastGood } from "./config/last-good.ts";
import { builtInRegistries } from "./config/registries.ts";
import { readSecret } from "./config/secrets.ts";
import type { Site } from "./config/types.ts";
import { CurrentCache } from "./compose-cache.ts";
import { globusSettings } from "./compose-globus.ts";
import { HostPool } from "./compose-hosts.ts";
import { storesOf } from "./compose-stores.ts";
import { LauncherPool } from "./compose-launchers.ts";
import { LocalHost } from "./hosts/local/index.ts";
import { createTransferEngine } from "./transfer/engine.ts";
import { Leftovers } from "./transfer/leftovers.ts";
import { createGlobusTransfer } from "./transfer/globus/index.ts";
import { createHttpTransfer } from "./transfer/http/index.ts";
import { createLocalTransfer } from "./transfer/local/index.ts";
import { createRsyncTransfer } from "./transfer/rsync/index.ts";
import { createS3Transfer } from "./transfer/s3/index.ts";
import { createSftpTransfer } from "./transfer/sftp/index.ts";
import { compilePolicy } from "./transfer/policy.ts";
import { hostOf } from "./transfer/plan.ts";
import { TransferRegistry } from "./transfer/registry.ts";
import type { RemoteLimits } from "./transfer/types.ts";
import { packageVersion } from "./common/version.ts";

export { planJob } from "./plan-job.ts";

const exitCodes = { stopped: 0, drained: 76 } as const;

export interface RunAgentOptions {
  readonly siteFile: string;
  readonly noClaim: boolean;
  readonly log: Logger;
}

/**
 * Runs the agent in this process until it is told to stop: TERM and INT stop it and leave attempts running, a second one at once,
 * HUP reloads, QUIT drains and exits with 76. Returns the exit code.
 */
export async function runAgent(options: RunAgentOptions): Promise<number> {
  const recent = new RecentLog(options.log);
  const manager = takeServiceManager(process.env, recent);
  const agent = new Agent(agentDeps(options.siteFile, recent), { noClaim: options.noClaim });
  const ended = new AbortController();
  const release = handleSignals(
    agent,
    recent,
    () => void manager?.tell("STOPPING=1", "STATUS=stopping; attempts go on"),
  );
  const calm = collectWhenCalm({ clock: systemClock, usedMs: usedHere, collect: collectHere }, ended.signal);
  let watching: Promise<void> | undefined;
  try {
    await agent.start();
    await manager?.tell("READY=1");
    const status = (): ReturnType<Agent["status"]> => agent.status();
    if (manager) watching = runWatchdog({ manager, status, clock: systemClock, log: recent }, ended.signal);
    return exitCodeOf(await agent.ended);
  } catch (error) {
    await agent.stop();
    throw asFault(error);
  } finally {
    ended.abort();
    await Promise.all([watching, calm]);
    release();
  }
}

/** What the agent of one site file is built from. */
export function agentDeps(siteFile: string, recent: RecentLog): AgentDeps {
  const hubOutputs = new HubOutputs();
  let central: Central | undefined;
  const launchers = new LauncherPool();
  const hosts = new HostPool();
  const caches = new CurrentCache();
  const shared: Shared = {
    hubOutputs,
    launchers,
    hosts,
    caches,
    leftovers: new Map(),
    central: () => central,
    log: recent,
  };
  return {
    clock: systemClock,
    log: recent,
    machine: thisMachine,
    version: packageVersion(),
    hubOutputs,
    recentLog: () => recent.lines,
    openCentral: async (site, agentId) => {
      central = await centralOf(site, agentId);
      return central;
    },
    loadParts: async () => {
      const site = await loadSite(siteFile, builtInRegistries);
      await keepCopy(site, siteFile, recent);
      hosts.forgive();
      return siteParts(site, shared);
    },
    loadLastGood: async () => {
      const kept = await readLastGood(siteFile);
      if (kept === undefined) return undefined;
      return siteParts(await parseSite(kept.text, siteFile, builtInRegistries, { standIns: kept.adapters }), shared);
    },
  };
}

/** Without the copy only a start with a broken file would be worse: no reason not to run. */
async function keepCopy(site: Site, siteFile: string, log: Logger): Promise<void> {
  try {
    const adapters = Object.values(site.adapters).map(({ name, adapter }) => [name, factsOf(adapter)] as const);
    await keepLastGood(siteFile, { text: await readFile(siteFile, "utf8"), adapters: Object.fromEntries(adapters) });
  } catch (error) {
    log.warn({ err: asFault(error) }, "no copy of the site file could be kept");
  }
}

interface Shared {
  readonly hubOutputs: HubOutputs;
  readonly launchers: LauncherPool;
  readonly hosts: HostPool;
  readonly caches: CurrentCache;
  /** What jobs may have left at destinations, by state directory. */
  readonly leftovers: Map<string, Leftovers>;
  readonly central: () => Central | undefined;
  readonly log: Logger;
}

function siteParts(site: Site, shared: Shared): SiteParts {
  const policy = compilePolicy(site.policy, { trustedSchemes: [hubScheme] });
  const context = { signal: new AbortController().signal, log: shared.log, clock: systemClock };
  const http = createHttpTransfer({
    policy,
    headersFor: async (url) => (await shared.central()?.downloadHeaders(url, context)) ?? {},
  });
  const own = Object.values(site.adapters).flatMap(({ adapter, options }) =>
    adapter.type === "transfer" ? [adapter.create(options, { policy })] : [],
  );
  const access = shared.hosts.accessOf(site);
  const bySsh = [createSftpTransfer({ policy, access }), createRsyncTransfer({ policy, access })];
  const s3 = createS3Transfer({ policy, stores: storesOf(site) });
  const cache = shared.caches.of(site);
  const globus = createGlobusTransfer({ policy, globus: globusSettings(site) });
  const local = createLocalTransfer({ policy });
  const others = [shared.hubOutputs, ...own];
  const registry = new TransferRegistry([local, http, ...bySsh, s3, globus, ...others]);
  const limits = (host: string): RemoteLimits | undefined => limitsOf(site, host);
  const notes = join(site.agent.stateDir, "leftovers");
  const leftovers = shared.leftovers.get(notes) ?? new Leftovers(notes);
  shared.leftovers.set(notes, leftovers);
  const transfers = createTransferEngine({
    policy,
    registry,
    limits,
    cache,
    leftovers,
    lists: join(site.agent.stateDir, "lists"),
  });
  const hosts = shared.hosts.hostsOf(site);
  const launchers = new Map(
    Object.values(site.targets).map((target) => [target.name, shared.launchers.launcherOf(site, target, hosts)]),
  );
  return {
    site,
    hosts,
    here: new LocalHost({ name: "here", workdir: site.agent.stateDir }),
    launchers,
    transfers,
    cache,
    endings: () => shared.hosts.endings(site, systemClock.now()),
    async [Symbol.asyncDispose]() {
      await transfers[Symbol.asyncDispose]();
      await shared.launchers[Symbol.asyncDispose]();
      await shared.hosts[Symbol.asyncDispose]();
    },
  };
}

/** Of the remotes by URL that share a host the narrowest limit counts. */
function limitsOf(site: Site, host: string): RemoteLimits {
  const here = Object.values(site.remotes).filter(({ url, s3 }) => hostOf(url) === host || s3?.buckets.includes(host));
  const least = (values: readonly (number | undefined)[]): number | undefined => {
    const given = values.filter((value) => value !== undefined);
    return given.length === 0 ? undefined : Math.min(...given);
  };
  return {
    files: least(here.map(({ files }) => files)),
    bytesPerSecond: least(here.map(({ bytesPerSecond }) => bytesPerSecond)),
  };
}

async function centralOf(site: Site, agentId: string): Promise<Central> {
  const remembered = join(site.agent.stateDir, "dialect");
  await removeUnfinished(remembered);
  const { url, clientId, clientSecret, dialect, timeoutMs, pollMs, caFile } = site.api;
  return openCentral({
    url,
    site: site.id,
    agentId,
    clientId,
    clientSecret: () => readSecret(clientSecret),
    dialect,
    remembered: await readDialect(remembered),
    onDialect: (found) => {
      durableReplace(remembered, `${found}\n`).catch(() => undefined);
    },
    timeoutMs,
    pollMs,
    caFile,
  });
}

async function readDialect(path: string): Promise<"nmdc" | "hub" | undefined> {
  try {
    const text = (await readFile(path, "utf8")).trim();
    return text === "nmdc" || text === "hub" ? text : undefined;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

function exitCodeOf(end: AgentEnd): number {
  if (end.kind === "failed") throw end.fault;
  return exitCodes[end.kind];
}

function handleSignals(agent: Agent, log: Logger, onStop: () => void): () => void {
  let stops = 0;
  let lastAt = Number.NEGATIVE_INFINITY;
  const stop = (signal: NodeJS.Signals): void => {
    // Terminals and wrappers deliver doubles: within a second they count once.
    if (performance.now() - lastAt < 1_000) return;
    lastAt = performance.now();
    stops++;
    if (stops > 1) process.exit(0);
    log.info({ signal }, "stopping; attempts go on and are adopted by the next start");
    onStop();
    void agent.stop();
  };
  const reload = (): void => {
    agent
      .reload()
      .catch((error: unknown) => log.error({ err: asFault(error) }, "reload failed; the old configuration stays"));
  };
  const quit = (): void => {
    agent
      .drain({ reason: "QUIT", by: "signal", exit: true })
      .catch((error: unknown) => log.error({ err: asFault(error) }, "drain failed"));
  };
  const dump = (): void => {
    void agent.status().then((status) => log.info({ status }, "state dump"));
  };
  const handlers = { SIGTERM: stop, SIGINT: stop, SIGHUP: reload, SIGQUIT: quit, SIGUSR1: dump } as const;
  for (const [signal, handler] of Object.entries(handlers)) process.on(signal, handler);
  return () => {
    for (const [signal, handler] of Object.entries(handlers)) process.off(signal, handler);
  };
}
