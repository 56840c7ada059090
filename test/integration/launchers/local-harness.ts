import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createLocalLauncher, type LocalLauncherOptions } from "../../../src/launchers/local/index.ts";
import { cgroupBase, removeCgroup } from "../../../src/runner/cgroups.ts";
import type { Launcher } from "../../../src/launchers/types.ts";
import type { LauncherHarness } from "../../../src/conformance/launcher/index.ts";
import { isAlive, readProcess } from "../../helpers/processes.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";
import { context } from "./attempts.ts";

export interface LocalHarness extends LauncherHarness {
  readonly launcher: Launcher;
  readonly stateDirectory: string;
  /** The runners of this place that live. */
  runners(): readonly number[];
  /** SIGKILL to the runner, as the kernel's OOM killer does. */
  killRunner(): Promise<void>;
}

/** A launcher `local` in a temporary directory; its runners end with it. */
export async function localHarness(options: Partial<LocalLauncherOptions> = {}): Promise<LocalHarness> {
  const directory = await temporaryDirectory("sa-local-");
  const stateDirectory = directory.join("state");
  const opened: Launcher[] = [];
  const open = (): Launcher => {
    const launcher = createLocalLauncher({ stateDirectory, idleMs: 20_000, ...options });
    opened.push(launcher);
    return launcher;
  };
  const launcher = open();
  // Its runner lives longer than one test.
  const probe = await launcher.probe(context);
  if (!probe.ok) throw new Error(probe.reason);
  const runners = (): readonly number[] => runnersOf(stateDirectory);
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    for (const pid of runners()) process.kill(pid, signal);
    await waitFor(() => runners().length === 0, { what: "the end of the runner" });
  };
  return {
    launcher,
    root: directory.path,
    stateDirectory,
    reopen: open,
    runners,
    killRunner: () => end("SIGKILL"),
    async [Symbol.asyncDispose]() {
      for (const each of opened) await each[Symbol.asyncDispose]();
      await end("SIGTERM");
      removeGroups(stateDirectory);
      await directory[Symbol.asyncDispose]();
    },
  };
}

/** What a killed runner leaves in the control group tree; the next one would sweep it. */
function removeGroups(stateDirectory: string): void {
  const base = cgroupBase(stateDirectory);
  if (base === undefined || !existsSync(base)) return;
  for (const entry of readdirSync(base, { withFileTypes: true })) {
    if (entry.isDirectory()) removeCgroup(join(base, entry.name));
  }
  removeCgroup(base);
}

/** The runners of a state directory that live. */
export function runnersOf(stateDirectory: string): readonly number[] {
  let log: string;
  try {
    log = readFileSync(join(stateDirectory, "runner.log"), "utf8");
  } catch {
    return [];
  }
  const pids = log
    .split("\n")
    .filter((line) => line.includes("runner listens"))
    .map((line) => (JSON.parse(line) as { pid: number }).pid);
  return pids.filter((pid) => isAlive(pid) && readProcess(pid)?.command.includes(stateDirectory));
}

const tiers = ["cgroup", "subreaper", "group"] as const;

/** The tiers that this machine offers, best first. */
export async function tiersHere(): Promise<readonly (typeof tiers)[number][]> {
  await using harness = await localHarness();
  const best = harness.launcher.capabilities.tier;
  return tiers.slice(tiers.findIndex((tier) => tier === best));
}
