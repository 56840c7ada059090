import { LocalHost } from "../../../src/hosts/local/index.ts";
import type { Host } from "../../../src/hosts/types.ts";
import { SchedulerQueue } from "../../../src/launchers/batch/queue.ts";
import { createPilotLauncher } from "../../../src/launchers/pilot/index.ts";
import type { PilotLauncherOptions } from "../../../src/launchers/pilot/options.ts";
import type { Launcher } from "../../../src/launchers/types.ts";
import type { LauncherHarness } from "../../../src/conformance/launcher/index.ts";
import { ScriptedScheduler } from "../../helpers/scripted-scheduler.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";

export interface PilotHarness extends LauncherHarness {
  readonly scheduler: ScriptedScheduler;
  reopen(options?: Partial<PilotLauncherOptions>): Launcher;
}

/** A launcher `pilot` over the scripted scheduler, on this machine, in a hurry. `around` may stand between it and the host. */
export async function pilotHarness(
  options: Partial<PilotLauncherOptions> = {},
  around: (host: Host) => Host = (host) => host,
): Promise<PilotHarness> {
  const directory = await temporaryDirectory("sa-pilot-");
  const scheduler = new ScriptedScheduler(directory.path);
  const opened: Launcher[] = [];
  const open = (changed: Partial<PilotLauncherOptions> = {}): Launcher => {
    const launcher = createPilotLauncher({
      host: around(new LocalHost({ name: "here", workdir: directory.path })),
      queue: new SchedulerQueue({ scheduler, pollMs: 100, confirmations: 1 }),
      placement: { native: [] },
      pool: "packed",
      preamble: [],
      path: "/usr/local/bin:/usr/bin:/bin",
      nodes: 1,
      starter: [],
      node: { cores: 16, memoryBytes: undefined, gpuIds: [], gpuVendor: "nvidia" },
      walltimeMs: 3_600_000,
      marginMs: 5_000,
      startMs: 1_500,
      idleMs: 600_000,
      queueLimitMs: undefined,
      elastic: { min: 0, max: 1, backlog: 1, waitMs: 0 },
      patience: { recordMs: 1_500, lostMs: 3_000 },
      settleMs: 500,
      lookMs: 100,
      beatMs: 1_000,
      ...options,
      ...changed,
    });
    opened.push(launcher);
    return launcher;
  };
  return {
    launcher: open(),
    scheduled: true,
    scheduler,
    root: directory.path,
    reopen: open,
    async [Symbol.asyncDispose]() {
      for (const each of opened) await each[Symbol.asyncDispose]();
      await scheduler[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
}
