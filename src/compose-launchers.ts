/** Builds launchers and schedulers for the targets of a site file; part of src/compose.ts, the only place that builds concrete adapters. */
import { join } from "node:path";
import { Fault } from "./common/fault.ts";
import { CurrentAdapters } from "./adapters/current.ts";
import { guardedLauncher, guardedScheduler } from "./adapters/guard.ts";
import type { SchedulerModule } from "./adapters/types.ts";
import { batchLimits, type BatchSettings, batchSchema, type SchedulerKind } from "./config/batch-schema.ts";
import { type PilotSettings, pilotSchema } from "./config/pilot-schema.ts";
import { fingerprint } from "./config/fingerprint.ts";
import type { Site, SiteTarget } from "./config/types.ts";
import { LocalHost } from "./hosts/local/index.ts";
import type { Host } from "./hosts/types.ts";
import { createBatchLauncher } from "./launchers/batch/index.ts";
import { type QueueOptions, SchedulerQueue } from "./launchers/batch/queue.ts";
import { withContainerProof } from "./launchers/container-proof.ts";
import { createPilotLauncher } from "./launchers/pilot/index.ts";
import { createLocalLauncher } from "./launchers/local/index.ts";
import { programOn } from "./launchers/batch/places.ts";
import { requestOf, type RequestOptions } from "./launchers/batch/request.ts";
import type { AttemptPlan, Launcher } from "./launchers/types.ts";
import { createPbs } from "./schedulers/pbs/index.ts";
import { createGridEngine } from "./schedulers/sge/index.ts";
import { createSlurm } from "./schedulers/slurm/index.ts";
import type { Placement, Scheduler, SchedulerOptions } from "./schedulers/types.ts";

const schedulers: Readonly<Record<SchedulerKind, Pick<SchedulerModule, "reservedCodes"> & SchedulerMaker>> = {
  slurm: { create: createSlurm },
  pbs: { create: createPbs },
  // Grid Engine runs a job again after 99 and stops it in an error state after 100.
  sge: { create: createGridEngine, reservedCodes: [99, 100] },
};

interface SchedulerMaker {
  create(options: SchedulerOptions): Scheduler;
}

/** Exit codes in which the scheduler reads an order. */
function reservedCodesOf(site: Site, name: string): readonly number[] {
  const own = site.adapters[name]?.adapter;
  if (own) return own.type === "scheduler" ? (own.reservedCodes ?? []) : [];
  return builtInScheduler(name).reservedCodes ?? [];
}

function builtInScheduler(name: string): (typeof schedulers)[SchedulerKind] {
  const builtIn = Object.entries(schedulers).find(([kind]) => kind === name);
  if (builtIn) return builtIn[1];
  throw new Fault("CONFIG", `scheduler '${name}' is not built in and not under adapters`);
}

/** One that is asked nothing but for its scripts. */
function renderer(site: Site, name: string, place: SchedulerOptions): Pick<Scheduler, "render"> {
  const own = site.adapters[name];
  return own?.adapter.type === "scheduler"
    ? own.adapter.create(own.options, place)
    : builtInScheduler(name).create(place);
}

/**
 * Launchers live as long as the agent, over all reloads: there is one runner per state directory, and one queue per host and scheduler,
 * so that there is one query for all targets (invariant 9). A target whose settings change gets a new launcher on the old queue.
 */
export class LauncherPool implements AsyncDisposable {
  readonly #launchers = new Map<string, Launcher>();
  readonly #queues = new Map<string, SchedulerQueue>();
  readonly #ownSchedulers = new CurrentAdapters<Scheduler>();
  readonly #ownLaunchers = new CurrentAdapters<Launcher>();
  /** Launchers that are being closed. */
  readonly #replaced: PromiseLike<void>[] = [];

  /** @throws Fault CONFIG for a launcher that is not built in. */
  launcherOf(site: Site, target: SiteTarget, hosts: ReadonlyMap<string, Host>): Launcher {
    switch (target.launcher) {
      case "local":
        return this.#once("local", () => localLauncher(site));
      case "batch": {
        const host = hosts.get(target.host);
        if (!host) throw new Fault("CONFIG", `target '${target.name}' has no host`);
        const settings = batchSchema.parse(target.settings);
        const reservedCodes = reservedCodesOf(site, settings.scheduler);
        const key = `batch ${fingerprint([site.hosts[target.host], reservedCodes, settings])}`;
        const queue = this.#queue(site, settings, host);
        return this.#once(key, () => batchLauncher(settings, { host, reservedCodes }, queue));
      }
      case "pilot":
        return this.#pilot(site, target, hosts);
      default:
        return this.#own(site, target, hosts);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const [launchers, queues] = [[...this.#launchers.values()], [...this.#queues.values()]];
    await Promise.allSettled(this.#replaced);
    this.#launchers.clear();
    this.#queues.clear();
    for (const one of [...launchers, ...queues]) await one[Symbol.asyncDispose]();
  }

  /** Its allocations are the target's, whatever the settings: of two launchers only the newest looks after them. */
  #pilot(site: Site, target: SiteTarget, hosts: ReadonlyMap<string, Host>): Launcher {
    const host = hosts.get(target.host);
    if (!host) throw new Fault("CONFIG", `target '${target.name}' has no host`);
    const settings = pilotSchema.parse(target.settings);
    const prefix = `pilot ${target.name} `;
    const key = `${prefix}${fingerprint([site.hosts[target.host], settings, target.gpuVendor, site.agent.path])}`;
    for (const [other, launcher] of this.#launchers) {
      if (!other.startsWith(prefix) || other === key) continue;
      this.#launchers.delete(other);
      this.#replaced.push(launcher[Symbol.asyncDispose]());
    }
    const path = site.hosts[target.host]?.path ?? site.agent.path;
    const queue = this.#queue(site, settings, host);
    return this.#once(key, () => pilotLauncher(target, settings, { host, path }, queue));
  }

  #own(site: Site, target: SiteTarget, hosts: ReadonlyMap<string, Host>): Launcher {
    const own = site.adapters[target.launcher];
    const host = hosts.get(target.host);
    if (own?.adapter.type !== "launcher" || !host) {
      throw new Fault("CONFIG", `launcher '${target.launcher}' is not built in and not under adapters`);
    }
    const { adapter, options, digest } = own;
    const path = site.hosts[target.host]?.path ?? site.agent.path;
    const stateDirectory = join(site.agent.stateDir, "adapters", own.name);
    const key = `own ${target.name} ${own.name} ${fingerprint([site.hosts[target.host], path])}`;
    const place = { target: target.name, host, stateDirectory, path };
    const current = this.#ownLaunchers.of(key, digest, () => adapter.create(options, place));
    return this.#once(key, () => guardedLauncher(own.name, current));
  }

  #once(key: string, make: () => Launcher): Launcher {
    const known = this.#launchers.get(key);
    if (known) return known;
    const made = make();
    this.#launchers.set(key, made);
    return made;
  }

  #queue(site: Site, settings: Pick<BatchSettings, "scheduler">, host: Host): SchedulerQueue {
    const { scheduler: kind } = settings;
    const courtesy = courtesyOf(site, host.name, kind);
    const { path = site.agent.path, environment = {} } = site.hosts[host.name] ?? {};
    const key = fingerprint([site.hosts[host.name], kind, courtesy]);
    const scheduler = this.#scheduler(site, kind, { host, environment: { ...environment, PATH: path } });
    const known = this.#queues.get(key);
    if (known) return known;
    const made = new SchedulerQueue({ scheduler: scheduler(), ...courtesy });
    this.#queues.set(key, made);
    return made;
  }

  /** How to make it. One of the site's own is renewed at once where there is one: the queue that asks it stays. */
  #scheduler(site: Site, kind: string, place: SchedulerOptions): () => Scheduler {
    const own = site.adapters[kind];
    if (own?.adapter.type !== "scheduler") return () => builtInScheduler(kind).create(place);
    const { adapter, options, digest } = own;
    const key = `${kind} ${fingerprint([site.hosts[place.host.name]])}`;
    const current = this.#ownSchedulers.of(key, digest, () => adapter.create(options, place));
    return () => guardedScheduler(kind, current);
  }
}

function localLauncher(site: Site): Launcher {
  const local = createLocalLauncher({
    stateDirectory: site.agent.stateDir,
    runtimeDirectory: site.agent.runtimeDir,
    runnerSocket: process.env["SITEAGENT_RUNNER_SOCKET"] || undefined,
  });
  const here = new LocalHost({ name: "here", workdir: site.agent.stateDir });
  return withContainerProof(local, {
    run: (request, context) => here.run(request, context),
    rootless: process.getuid?.() !== 0,
  });
}

function batchLauncher(
  settings: BatchSettings,
  { host, reservedCodes }: { readonly host: Host; readonly reservedCodes: readonly number[] },
  queue: SchedulerQueue,
): Launcher {
  return createBatchLauncher({
    host,
    queue,
    ...requestOptions(settings),
    limits: batchLimits(settings),
    arrays: settings.arrays,
    patience: {
      recordMs: settings.record_patience,
      verdictMs: settings.verdict_patience,
      lostMs: settings.lost_after,
    },
    trustsAccounting: settings.trust_accounting,
    queueLimitMs: settings.queue_limit,
    settleMs: settings.settle,
    lookMs,
    reservedCodes,
  });
}

/** What of a target's settings becomes part of each request. */
function requestOptions(settings: BatchSettings): RequestOptions {
  return {
    placement: placementOf(settings),
    preamble: settings.preamble,
    walltimeMarginMs: settings.walltime_margin,
  };
}

/** The job script that a target would submit for an attempt; nothing is asked or written. undefined for launchers without one. */
export async function jobScript(site: Site, target: SiteTarget, attempt: AttemptPlan): Promise<string | undefined> {
  if (target.launcher !== "batch") return undefined;
  const settings = batchSchema.parse(target.settings);
  const workdir = site.hosts[target.host]?.workdir ?? "/";
  const { path } = await programOn(workdir, "recorder.sh");
  const request = requestOf(
    [attempt],
    { token: attempt.token, at: new Date().toISOString() },
    path,
    workdir,
    requestOptions(settings),
  );
  const host = new LocalHost({ name: target.host, workdir });
  return renderer(site, settings.scheduler, { host, environment: {} }).render(request);
}

function pilotLauncher(
  target: SiteTarget,
  settings: PilotSettings,
  place: { readonly host: Host; readonly path: string },
  queue: SchedulerQueue,
): Launcher {
  const { nodes, node_cores: cores, node_memory: memoryBytes, node_gpus: gpus } = settings;
  const slurmStarter = [
    "srun",
    "--overlap",
    "--nodes",
    String(nodes),
    "--ntasks-per-node=1",
    "--cpu-bind=none",
    "--mem=0",
    "--kill-on-bad-exit=1",
  ];
  return createPilotLauncher({
    ...place,
    queue,
    placement: placementOf(settings),
    pool: target.name,
    preamble: settings.preamble,
    nodes,
    starter: settings.node_starter ?? (nodes > 1 && settings.scheduler === "slurm" ? slurmStarter : []),
    node: {
      cores,
      memoryBytes,
      gpuIds: typeof gpus === "number" ? Array.from({ length: gpus }, (_, id) => String(id)) : gpus,
      gpuVendor: target.gpuVendor,
    },
    walltimeMs: settings.walltime,
    marginMs: settings.margin,
    startMs: settings.start,
    idleMs: settings.idle,
    queueLimitMs: settings.queue_limit,
    elastic: {
      min: settings.min_allocations,
      max: settings.max_allocations,
      backlog: settings.backlog,
      waitMs: settings.backlog_wait ?? 0,
    },
    patience: { recordMs: settings.record_patience, lostMs: settings.lost_after },
    settleMs: settings.settle,
    lookMs: nodeLookMs,
    beatMs,
  });
}

function placementOf(settings: BatchSettings | PilotSettings): Placement {
  return {
    queue: settings.partition ?? settings.queue,
    account: settings.account,
    project: settings.project,
    qos: settings.qos,
    constraint: settings.constraint,
    reservation: settings.reservation,
    licenses: settings.licenses,
    exclusive: settings.exclusive,
    parallelEnvironment: settings.parallel_environment,
    native: settings.native,
  };
}

/** How often the words of a node are read: so long its cores may be idle between two attempts of some seconds. */
const nodeLookMs = 1_000;

/** How often a node of an allocation gives a sign of life. */
const beatMs = 10_000;

/** How often the directory of an attempt is looked at where no watch tells of changes. */
const lookMs = 5_000;

/** What all targets of one scheduler on one host share: the longest pause and the fewest queries out of turn that one of them asks for. */
function courtesyOf(site: Site, host: string, kind: string): Omit<QueueOptions, "scheduler"> {
  const all = Object.values(site.targets).flatMap((target) => {
    if (target.host !== host || !["batch", "pilot"].includes(target.launcher)) return [];
    const settings = (target.launcher === "batch" ? batchSchema : pilotSchema).parse(target.settings);
    return settings.scheduler === kind ? [settings] : [];
  });
  const rates = all.flatMap(({ submit_rate: rate }) => rate ?? []);
  return {
    pollMs: Math.max(...all.map(({ poll }) => poll)),
    confirmations: Math.min(...all.map(({ confirmations }) => confirmations)),
    submitsPerMinute: rates.length === 0 ? undefined : Math.min(...rates),
  };
}
