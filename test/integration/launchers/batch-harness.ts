import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { LocalHost } from "../../../src/hosts/local/index.ts";
import { type BatchLauncherOptions, createBatchLauncher } from "../../../src/launchers/batch/index.ts";
import { SchedulerQueue } from "../../../src/launchers/batch/queue.ts";
import type { AttemptPlan, AttemptRef, Launcher } from "../../../src/launchers/types.ts";
import type { ScheduledJob } from "../../../src/schedulers/types.ts";
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

/** The scheduler's job of an attempt that was accepted. */
export function jobOf(ref: AttemptRef): ScheduledJob {
  return ref.handle?.data["job"] as unknown as ScheduledJob;
}

/** How often an attempt with the script `counting` has begun. */
export async function count(it: AttemptPlan): Promise<number> {
  return (await readFile(join(it.workDirectory, "..", "count"), "utf8")).trim().split("\n").length;
}

export const counting = "echo started >> ../count; exit 0";

/** Whole or not at all: the command looks for it all the time. */
export async function letGo(it: AttemptPlan, code: number): Promise<void> {
  await writeFile(join(it.workDirectory, "go.part"), String(code));
  await rename(join(it.workDirectory, "go.part"), join(it.workDirectory, "go"));
}
