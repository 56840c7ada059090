import { LocalHost } from "../../../src/hosts/local/index.ts";
import { type BatchLauncherOptions, createBatchLauncher } from "../../../src/launchers/batch/index.ts";
import { SchedulerQueue } from "../../../src/launchers/batch/queue.ts";
import type { Launcher } from "../../../src/launchers/types.ts";
import type { LauncherHarness } from "../../../src/conformance/launcher/index.ts";
import { ScriptedScheduler } from "../../helpers/scripted-scheduler.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";

export interface BatchHarness extends LauncherHarness {
  readonly scheduler: ScriptedScheduler;
}

/** A launcher `batch` over the scripted scheduler, on this machine, in a hurry. */
export async function batchHarness(options: Partial<BatchLauncherOptions> = {}): Promise<BatchHarness> {
  const directory = await temporaryDirectory("sa-batch-");
  const scheduler = new ScriptedScheduler(directory.path);
  const opened: Launcher[] = [];
  const open = (): Launcher => {
    const launcher = createBatchLauncher({
      host: new LocalHost({ name: "here", workdir: directory.path }),
      queue: new SchedulerQueue({ scheduler, pollMs: 100, confirmations: 1 }),
      placement: { native: [] },
      preamble: [],
      limits: {},
      arrays: false,
      walltimeMarginMs: 60_000,
      patience: { recordMs: 1_500, verdictMs: 1_500, lostMs: 3_000 },
      trustsAccounting: false,
      queueLimitMs: undefined,
      settleMs: 500,
      lookMs: 100,
      reservedCodes: [],
      ...options,
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
