/** The agent's own code in the test's process: real journal, real calls over sockets; clock and attempts belong to the test. */
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { stringify } from "yaml";
import { Agent, type AgentEnd, type AgentOptions } from "../../src/agent/agent.ts";
import type { SiteParts } from "../../src/agent/deps.ts";
import { HubOutputs, hubScheme } from "../../src/agent/hub-outputs.ts";
import { type Machine, thisMachine } from "../../src/agent/machine.ts";
import { openCentral } from "../../src/central/discover.ts";
import type { Clock } from "../../src/common/clock.ts";
import { silentLogger } from "../../src/common/logger.ts";
import { RecentLog } from "../../src/common/recent-log.ts";
import { loadSite } from "../../src/config/compile.ts";
import { builtInRegistries } from "../../src/config/registries.ts";
import { readSecret } from "../../src/config/secrets.ts";
import { LocalHost } from "../../src/hosts/local/index.ts";
import { createTransferEngine } from "../../src/transfer/engine.ts";
import { compilePolicy } from "../../src/transfer/policy.ts";
import { TransferRegistry } from "../../src/transfer/registry.ts";
import type { TransferAdapter } from "../../src/transfer/types.ts";
import type { LocalJob, StatusView } from "../../src/wire/control-api.ts";
import { PendingCalls } from "./pending-calls.ts";
import { SimulatedLauncher } from "./simulated-launcher.ts";
import { temporaryDirectory, type TemporaryDirectory } from "./temporary.ts";
import { waitFor } from "./wait.ts";

export interface AgentRigOptions {
  /** Address of central. */
  readonly url: string;
  readonly clock: Clock;
  readonly dialect?: "hub" | "nmdc";
  /** Default: one app of the workflow `w`. */
  readonly apps?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly slots?: number;
  /** Default: `local` with `slots`. */
  readonly targets?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly api?: Readonly<Record<string, unknown>>;
  readonly agent?: Readonly<Record<string, unknown>>;
  readonly durationMs?: () => number | undefined;
  /** [0, 1) for the client's jitter. */
  readonly random?: () => number;
  /** Default: this machine. */
  readonly machine?: Machine;
  /** How inputs come and outputs go; default: outputs to the hub alone. */
  readonly transfers?: readonly TransferAdapter[];
  readonly policy?: Readonly<Record<string, unknown>>;
  readonly limits?: Pick<AgentOptions, "journaledFiles">;
  /** Before the agent starts, for instance to fill its journal. */
  readonly prepare?: (directory: TemporaryDirectory, launcher: SimulatedLauncher) => Promise<void>;
}

export class AgentRig implements AsyncDisposable {
  readonly directory: TemporaryDirectory;
  readonly launcher: SimulatedLauncher;
  readonly log: RecentLog;
  /** Calls to central that are under way. */
  readonly calls: PendingCalls;
  #agent: Agent;
  readonly #makeAgent: () => Agent;

  private constructor(
    directory: TemporaryDirectory,
    launcher: SimulatedLauncher,
    log: RecentLog,
    calls: PendingCalls,
    makeAgent: () => Agent,
  ) {
    this.directory = directory;
    this.launcher = launcher;
    this.log = log;
    this.calls = calls;
    this.#makeAgent = makeAgent;
    this.#agent = makeAgent();
  }

  static async start(options: AgentRigOptions): Promise<AgentRig> {
    await using stack = new AsyncDisposableStack();
    const directory = stack.use(await temporaryDirectory());
    for (const name of ["state", "run", "work"]) await mkdir(directory.join(name), { mode: 0o700 });
    await writeSiteFile(directory, options);
    const launcher = new SimulatedLauncher(options.clock, options.durationMs);
    await options.prepare?.(directory, launcher);
    const log = new RecentLog(silentLogger);
    const calls = new PendingCalls();
    const rig = new AgentRig(directory, launcher, log, calls, () => agentOf(directory, options, launcher, log, calls));
    stack.defer(() => rig.#agent.stop());
    await rig.#agent.start();
    rig.#owned = stack.move();
    return rig;
  }
  #owned = new AsyncDisposableStack();

  /** Ends this agent in order and starts the next one on the same state. */
  async restart(): Promise<void> {
    await this.#agent.stop();
    this.#agent = this.#makeAgent();
    await this.#agent.start();
  }

  /** Takes nothing more and hands back what has not begun; the end of the agent when it is to `exit` then. */
  async drain(exit = false): Promise<{ readonly ended: Promise<AgentEnd> }> {
    await this.#agent.drain({ reason: "test", by: "test", exit });
    return { ended: this.#agent.ended };
  }

  async status(): Promise<StatusView> {
    const status = await this.#agent.status();
    if (!status) throw new Error("the agent has no status yet");
    return status;
  }

  async job(id: string): Promise<LocalJob | undefined> {
    return (await this.status()).jobs.find((job) => job.id === id);
  }

  /** The problem whose text matches. */
  async problem(pattern: RegExp): Promise<StatusView["problems"][number] | undefined> {
    return (await this.status()).problems.find(({ what }) => pattern.test(what));
  }

  async until(what: string, fits: (status: StatusView) => boolean, timeoutMs = 30_000): Promise<StatusView> {
    let last: StatusView | undefined;
    await waitFor(async () => fits((last = await this.status())), {
      what: () => `${what}; status: ${JSON.stringify(last).slice(0, 4_000)}`,
      timeoutMs,
    });
    return last as StatusView;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }
}

function agentOf(
  directory: TemporaryDirectory,
  options: AgentRigOptions,
  launcher: SimulatedLauncher,
  log: RecentLog,
  calls: PendingCalls,
): Agent {
  const hubOutputs = new HubOutputs();
  return new Agent(
    {
      clock: options.clock,
      machine: options.machine ?? thisMachine,
      log,
      version: "test",
      hubOutputs,
      recentLog: () => log.lines,
      openCentral: async (site, agentId) =>
        calls.watch(
          await openCentral({
            url: site.api.url,
            site: site.id,
            agentId,
            clientId: site.api.clientId,
            clientSecret: () => readSecret(site.api.clientSecret),
            dialect: site.api.dialect,
            timeoutMs: site.api.timeoutMs,
            pollMs: site.api.pollMs,
            ...(options.random === undefined ? {} : { random: options.random }),
          }),
        ),
      loadParts: () => partsOf(directory, launcher, [hubOutputs, ...(options.transfers ?? [])]),
      loadLastGood: async () => undefined,
    },
    { watchConfig: false, ...options.limits },
  );
}

async function partsOf(
  directory: TemporaryDirectory,
  launcher: SimulatedLauncher,
  adapters: readonly TransferAdapter[],
): Promise<SiteParts> {
  const site = await loadSite(directory.join("site.yaml"), builtInRegistries);
  const policy = compilePolicy(site.policy, { trustedSchemes: [hubScheme] });
  const transfers = createTransferEngine({
    policy,
    registry: new TransferRegistry(adapters),
    lists: directory.join("lists"),
  });
  return {
    site,
    hosts: new Map(Object.values(site.hosts).map((host) => [host.name, new LocalHost(host)])),
    here: new LocalHost({ name: "here", workdir: directory.path }),
    launchers: new Map(Object.keys(site.targets).map((name) => [name, launcher])),
    transfers,
    [Symbol.asyncDispose]: () => transfers[Symbol.asyncDispose](),
  };
}

async function writeSiteFile(directory: TemporaryDirectory, options: AgentRigOptions): Promise<void> {
  await writeFile(directory.join("secret"), "secret", { mode: 0o600 });
  await chmod(directory.join("secret"), 0o600);
  const apps = Object.entries(options.apps ?? { w: {} }).map(([name, app]) => [
    name,
    { workflow: name, target: "local", command: ["/bin/true"], ...app },
  ]);
  const site = {
    site: "lab-a",
    api: {
      url: options.url,
      client_id: "c-lab-a",
      client_secret: { file: "secret" },
      dialect: options.dialect ?? "hub",
      ...options.api,
    },
    agent: { state_dir: "state", runtime_dir: "run", min_free_space: "1MiB", ...options.agent },
    hosts: { here: { workdir: "work" } },
    targets: options.targets ?? { local: { host: "here", launcher: "local", slots: options.slots ?? 4 } },
    ...(options.policy === undefined ? {} : { policy: options.policy }),
    apps: Object.fromEntries(apps),
  };
  await writeFile(directory.join("site.yaml"), stringify(site), { mode: 0o600 });
}
