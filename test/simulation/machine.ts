import { Agent, type AgentOptions } from "../../src/agent/agent.ts";
import { HubOutputs } from "../../src/agent/hub-outputs.ts";
import type { ControlActions } from "../../src/agent/control-server.ts";
import type { Machine } from "../../src/agent/machine.ts";
import type { SiteParts } from "../../src/agent/deps.ts";
import { Fault } from "../../src/common/fault.ts";
import { silentLogger } from "../../src/common/logger.ts";
import type { Site } from "../../src/config/types.ts";
import type { Disk } from "../../src/journal/disk.ts";
import { LocalFiles } from "../../src/hosts/local/files.ts";
import type { Host } from "../../src/hosts/types.ts";
import { openJournal, type StartWriter } from "../../src/journal/journal.ts";
import type { FromWorker, ToWorker } from "../../src/journal/messages.ts";
import { serve } from "../../src/journal/writing.ts";
import type { ManifestEntry, TransferEngine } from "../../src/transfer/types.ts";
import { appOf } from "../unit/jobs/builders.ts";
import { simulatedCentral } from "./central.ts";
import { journalDirectory } from "./disk.ts";
import { simulatedLauncher } from "./launcher.ts";
import type { SimulatedProcess } from "./process.ts";

const apps = {
  plain: appOf({ workflow: "plain-1.0.0", keep: "30s" }, "plain"),
  flaky: appOf({ workflow: "flaky-1.0.0", retry: { attempts: 3, on: ["exit:9"], delay: "5s" }, keep: "1d" }, "flaky"),
  files: appOf(
    {
      workflow: "files-1.0.0",
      inputs: { reads: { from: "https://data.example.org/reads", to: "reads" } },
      outputs: { result: { from: "result.txt", to: "https://archive.example.org/result" } },
      keep: "1d",
    },
    "files",
  ),
  kept: appOf(
    {
      workflow: "kept-1.0.0",
      outputs: { result: { from: "result.txt", to: "https://archive.example.org/kept" } },
      archive: "always",
      restart: "clean",
      retry: { attempts: 2, on: ["exit", "timeout", "signal"], delay: "1s" },
    },
    "kept",
  ),
};
export const workflows = Object.values(apps).map((app) => app.workflow);

const site: Site = {
  file: "/site.yaml",
  digest: "0".repeat(64),
  id: "simulated",
  api: {
    url: "https://central.example.org",
    clientId: "client",
    clientSecret: { path: "/secret", label: "/secret" },
    dialect: "auto",
    pollMs: 5_000,
    timeoutMs: 30_000,
    caFile: undefined,
  },
  adapters: {},
  cache: undefined,
  agent: {
    stateDir: "/state",
    runtimeDir: "/run",
    logLevel: "info",
    report: "minimal",
    keepMs: 86_400_000,
    maxJobs: 10,
    environment: [],
    path: "/bin",
    minFreeSpaceBytes: 1024,
    claim: true,
  },
  hosts: { here: { name: "here", kind: "local", workdir: "/work", path: "/bin", environment: {} } },
  targets: {
    local: {
      name: "local",
      host: "here",
      launcher: "local",
      slots: 2,
      cores: undefined,
      memoryBytes: undefined,
      gpus: undefined,
      gpuVendor: "nvidia",
      gpuIds: [],
      allocation: false,
      shared: true,
      settings: {},
    },
  },
  remotes: {},
  globus: undefined,
  policy: {
    sources: ["https://data.example.org/"],
    destinations: ["https://archive.example.org/"],
    allow_private: [],
    images: [],
  },
  maxOutputBytes: 1_000_000,
  hooks: { maxTimeoutMs: 60_000, maxOutputBytes: 1_000 },
  apps,
  appDigests: Object.fromEntries(Object.keys(apps).map((name) => [name, name])),
};

/** A started agent with what its control socket could ask of it. */
export interface SimulatedAgent {
  readonly agent: Agent;
  readonly control: () => ControlActions | undefined;
}

/** The real agent in a process of the simulation. */
export function makeAgent(process: SimulatedProcess, options: AgentOptions): SimulatedAgent {
  let control: ControlActions | undefined;
  const hubOutputs = new HubOutputs();
  const agent = new Agent(
    {
      clock: process.clock,
      log: silentLogger,
      machine: machineOf(process, (actions) => {
        control = actions;
      }),
      version: "simulated",
      openCentral: async () => simulatedCentral(process),
      loadParts: async () => partsOf(process),
      loadLastGood: async () => undefined,
      hubOutputs,
      recentLog: () => [],
    },
    { watchConfig: false, ...options },
  );
  return { agent, control: () => control };
}

function partsOf(process: SimulatedProcess): SiteParts {
  const host: Host = {
    kind: "local",
    name: "here",
    workdir: "/work",
    files: new LocalFiles("/work"),
    probe: async () => ({ ok: true, version: "simulated" }),
    run: () => Promise.reject(new Fault("DEFECT", "nothing is run on the simulated host")),
    async [Symbol.asyncDispose]() {},
  };
  return {
    site,
    hosts: new Map([["here", host]]),
    here: host,
    launchers: new Map([["local", simulatedLauncher(process)]]),
    transfers: transfersOf(process),
    async [Symbol.asyncDispose]() {},
  };
}

function transfersOf(process: SimulatedProcess): TransferEngine {
  const { world } = process;
  return {
    async run(request) {
      const manifest: ManifestEntry[] = [];
      for await (const entry of request.known) manifest.push(entry);
      for (const { name, source, target } of request.items) {
        if (manifest.some((entry) => entry.item === name)) continue;
        await process.call("transfer", world.random.whole(10, 5_000), () => {
          if (world.faulty && world.random.chance(world.rates.transfer)) throw new Fault("TRANSFER", "simulated");
        });
        const isIn = request.direction === "in";
        const [path, url] = isIn ? [target, source] : [source, target];
        const entry = { item: name, path, url, bytes: 1, sha256: "0".repeat(64), verified: "digest" } as const;
        await request.onFile(entry);
        manifest.push(entry);
      }
      return { manifest, files: manifest.length, missing: [], movedBytes: manifest.length };
    },
    async clean() {},
    async abandon() {},
    async sweep() {},
    judgeSource: (url) => ({ allowed: true, url, reason: "any" }),
    async [Symbol.asyncDispose]() {},
  };
}

function machineOf(process: SimulatedProcess, onControl: (actions: ControlActions) => void): Machine {
  const { world } = process;
  const quick = (what: string): Promise<void> => process.call(what, world.random.whole(0, 20), () => {});
  return {
    lock: async () => ({
      instanceId: `instance-${process.number}`,
      generation: process.number,
      tookOver: undefined,
      lost: new AbortController().signal,
      async [Symbol.asyncDispose]() {},
    }),
    identity: async () => "agent-1",
    openJournal: (options) =>
      openJournal(
        {
          ...options,
          directory: journalDirectory,
          limits: { ballastBytes: 256 },
          meta: { ...options.meta, host: "here", bootId: "" },
        },
        writerOf(process),
      ),
    async openControlSocket(_path, actions) {
      onControl(actions);
      return { async [Symbol.asyncDispose]() {} };
    },
    makeDirectories: () => quick("making directories"),
    makeDirectory: () => quick("making a directory"),
    emptyDirectory: () => quick("emptying a directory"),
    removeDirectory: () => quick("removing a directory"),
    tracesOf: async () => new Map(),
    readTraces: async () => ({ app: undefined, attempts: [], whole: true }),
    freeRoom: async (directory) => ({ bytes: world.disk.free(directory), files: undefined }),
  };
}

/** The journal's writing side in the same process, reached by messages that take a moment, and over the simulated disk. */
function writerOf(process: SimulatedProcess): StartWriter {
  return (data, events) => {
    const { world } = process;
    const toAgent: FromWorker[] = [];
    const toWriter: ToWorker[] = [];
    let arrived: ((message: ToWorker) => void) | undefined;
    let isClosed = false;
    void serve(
      {
        post(message) {
          toAgent.push(message);
          process.later(world.random.whole(0, 2), () => {
            const next = toAgent.shift();
            if (next) events.message(next);
          });
        },
        listen(run) {
          arrived = run;
        },
        take: () => toWriter.splice(0),
        close() {
          isClosed = true;
          process.later(3, events.exit);
        },
      },
      data,
      { disk: diskOf(process), clock: process.clock },
    );
    return {
      post(message) {
        toWriter.push(message);
        const stalls = world.faulty && world.random.chance(world.rates.stall);
        process.later(stalls ? world.random.whole(1_000, 40_000) : world.random.whole(0, 2), () => {
          const next = toWriter.shift();
          if (next) arrived?.(next);
        });
      },
      end() {
        // A disk that hangs is not waited for: the kernel closes what the process leaves open.
        if (!isClosed) process.abandoned = true;
      },
    };
  };
}

/** The disk as one process has it: it can die at each change. */
function diskOf(process: SimulatedProcess): Disk {
  const { disk } = process.world;
  return {
    open: (path, flags) => process.sync(`opening ${path}`, () => disk.open(path, flags)),
    read: (file, into, position) => disk.read(file, into, position),
    write: (file, bytes, offset, position) => process.sync("a write", () => disk.write(file, bytes, offset, position)),
    truncate: (file, length) => process.sync("a truncation", () => disk.truncate(file, length)),
    sync: (file) => process.sync("a sync", () => disk.sync(file)),
    close: (file) => process.sync("a close", () => disk.close(file)),
    rename: (from, to) => process.sync("a rename", () => disk.rename(from, to)),
    remove: (path) => process.sync("a removal", () => disk.remove(path)),
    list: (directory) => disk.list(directory),
    makeDirectory: (path) => process.sync("making a directory", () => disk.makeDirectory(path)),
    syncDirectory: (path) => process.sync("a directory's sync", () => disk.syncDirectory(path)),
    size: (path) => disk.size(path),
    free: (directory) => disk.free(directory),
  };
}
