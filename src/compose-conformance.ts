/** Tries a module of a site's own adapter: builds a place for it and runs the suite of its type; `siteagent conformance`. */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadAdapter } from "./adapters/load.ts";
import type {
  AdapterModule,
  HostModule,
  LauncherModule,
  LoadedModule,
  RehearsalPlace,
  SchedulerModule,
  TransferModule,
} from "./adapters/types.ts";
import { Fault } from "./common/fault.ts";
import { type HostHarness, hostSuite } from "./conformance/host/index.ts";
import { type LauncherHarness, launcherSuite } from "./conformance/launcher/index.ts";
import { type CaseResult, runSuite } from "./conformance/run.ts";
import { type SchedulerHarness, schedulerSuite } from "./conformance/scheduler/index.ts";
import { callContext } from "./conformance/suite.ts";
import { type TransferHarness, transferSuite } from "./conformance/transfer/index.ts";
import { LocalHost } from "./hosts/local/index.ts";
import { compilePolicy } from "./transfer/policy.ts";

const searchPath = "/usr/local/bin:/usr/bin:/bin";

/** @throws Fault CONFIG naming the file and what is wrong with it. */
export async function loadForConformance(path: string): Promise<LoadedModule> {
  const found = await loadAdapter(path);
  if ("adapter" in found) return found;
  throw new Fault("CONFIG", found.message, { hint: `expected: ${found.allowed}` });
}

/**
 * The results of its suite, as they come.
 * @throws Fault CONFIG when it cannot be tried at all: no `rehearse`, options that its own schema refuses.
 */
export function tryAdapter(
  { path, adapter }: LoadedModule,
  wanted: (title: string) => boolean,
): AsyncGenerator<CaseResult, void> {
  switch (adapter.type) {
    case "scheduler":
      return runSuite(schedulerSuite, () => schedulerHarness(path, adapter), wanted);
    case "launcher":
      return runSuite(launcherSuite, () => launcherHarness(path, adapter), wanted);
    case "host":
      return runSuite(hostSuite, () => hostHarness(path, adapter), wanted);
    case "transfer":
      return runSuite(transferSuite, () => transferHarness(path, adapter), wanted);
  }
}

async function schedulerHarness(path: string, adapter: SchedulerModule): Promise<SchedulerHarness> {
  const { place, given, options, dispose } = await rehearsed(path, adapter);
  const { environment = {}, small = smallJob, waiting, wrongQueue, neverUsedId, holds, outage } = given;
  const scheduler = adapter.create(options, { host: place.host, environment: { PATH: searchPath, ...environment } });
  // Its abilities may be known only after this; whether it works is for the suite to say.
  await scheduler.probe(callContext()).catch(() => undefined);
  return {
    scheduler,
    workdir: place.host.workdir,
    small,
    waiting,
    wrongQueue,
    neverUsedId,
    ...(holds === undefined ? {} : { holds }),
    ...(outage === undefined ? {} : { outage }),
    [Symbol.asyncDispose]: () => dispose(scheduler),
  };
}

const smallJob = {
  resources: { nodes: 1, ranks_per_node: 1, threads_per_rank: 1, gpus: 0 },
  walltimeS: 600,
  placement: { native: [] },
} as const;

async function launcherHarness(path: string, adapter: LauncherModule): Promise<LauncherHarness> {
  const { place, given, options, dispose } = await rehearsed(path, adapter);
  const { host, directory } = place;
  const stateDirectory = join(directory, "state");
  await mkdir(stateDirectory, { mode: 0o700 });
  const open = (): ReturnType<LauncherModule["create"]> =>
    adapter.create(options, { target: "rehearsal", host, stateDirectory, path: searchPath });
  const launcher = open();
  return {
    launcher,
    root: host.workdir,
    reopen: open,
    scheduled: given.scheduled ?? false,
    [Symbol.asyncDispose]: () => dispose(launcher),
  };
}

async function hostHarness(path: string, adapter: HostModule): Promise<HostHarness> {
  const { place, given, options, dispose } = await rehearsed(path, adapter);
  const { root = place.directory } = given;
  const host = adapter.create(options, { name: "rehearsal", workdir: join(root, "there") });
  return { host, root, [Symbol.asyncDispose]: () => dispose(host) };
}

async function transferHarness(path: string, adapter: TransferModule): Promise<TransferHarness> {
  const { given, options, dispose } = await rehearsed(path, adapter);
  const { sources, destinations, allowPrivate = [] } = given;
  const policy = compilePolicy({ sources, destinations, allow_private: allowPrivate });
  const transfer = adapter.create(options, { policy });
  return {
    adapter: transfer,
    url: (name) => given.url(name),
    forbidden: given.forbidden,
    put: (name, content) => given.put(name, content),
    get: (name) => given.get(name),
    [Symbol.asyncDispose]: () => dispose(transfer),
  };
}

type Given<Module extends AdapterModule> = Awaited<ReturnType<NonNullable<Module["rehearse"]>>>;

interface Rehearsed<Module extends AdapterModule> {
  readonly place: RehearsalPlace;
  readonly given: Given<Module>;
  /** As the module's schema made them. */
  readonly options: unknown;
  readonly dispose: (made: AsyncDisposable) => Promise<void>;
}

async function rehearsed<Module extends AdapterModule>(path: string, adapter: Module): Promise<Rehearsed<Module>> {
  if (!adapter.rehearse) {
    const hint = "it gives the suite a place to try the adapter in: docs/adding-an-adapter.md";
    throw new Fault("CONFIG", `'${path}' has no 'rehearse'`, { hint });
  }
  const directory = await mkdtemp(join(tmpdir(), "siteagent-conformance-"));
  const remove = (): Promise<void> => rm(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  try {
    const host = new LocalHost({ name: "here", workdir: join(directory, "work") });
    await mkdir(host.workdir, { mode: 0o700 });
    const place = { directory, host };
    const given = (await adapter.rehearse(place)) as Given<Module>;
    const dispose = async (made: AsyncDisposable): Promise<void> => {
      await made[Symbol.asyncDispose]();
      await given.dispose?.();
      await host[Symbol.asyncDispose]();
      await remove();
    };
    return { place, given, options: checkedOptions(path, adapter, given.options ?? {}), dispose };
  } catch (error) {
    await remove();
    throw error;
  }
}

function checkedOptions(path: string, { options: schema }: AdapterModule, options: unknown): unknown {
  if (!schema) return undefined;
  const checked = schema.safeParse(options);
  if (checked.success) return checked.data;
  const problems = checked.error.issues.map((issue) => `options.${issue.path.join(".")}: ${issue.message}`);
  throw new Fault("CONFIG", `'${path}': rehearse gives options that the schema refuses: ${problems.join("; ")}`);
}
