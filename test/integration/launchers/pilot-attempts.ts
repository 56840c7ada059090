/** Attempts in allocations as tests of them start, count and end them. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Host, HostFiles } from "../../../src/hosts/types.ts";
import type { AttemptPlan, AttemptRef, Launcher } from "../../../src/launchers/types.ts";
import { killIfThere, listProcesses, type ProcessEntry } from "../../helpers/processes.ts";
import { launchOne, makePlan, untilState } from "./attempts.ts";
import type { PilotHarness } from "./pilot-harness.ts";

/** A small one: two attempts fill it. */
export const node = { cores: 2, memoryBytes: undefined, gpuIds: [], gpuVendor: "nvidia" } as const;

/** Processes of the harness's allocations: `node.pl`, `--serve` (forks recorders), `recorder.pl` … */
export function processes({ root }: PilotHarness, word: string): readonly ProcessEntry[] {
  return listProcesses().filter(({ command }) => command.includes(root) && command.includes(word));
}

/** All of them; the end of one may have brought that of the next. */
export function kill(found: readonly ProcessEntry[], signal: NodeJS.Signals = "SIGKILL"): void {
  for (const { pid } of found) killIfThere(pid, signal);
}

export async function running(
  harness: PilotHarness,
  script: string,
  extra?: Partial<AttemptPlan>,
): Promise<AttemptRef> {
  const ref = await launchOne(harness.launcher, await makePlan(harness.root, script, extra));
  await untilState(harness.launcher, ref, "running");
  return ref;
}

export async function ends(launcher: Launcher, ref: AttemptRef): Promise<object> {
  return (await untilState(launcher, ref, "ended", 30_000)).end;
}

export const once = "echo $$ >> ../starts; ";
export const starts = async (ref: AttemptRef): Promise<number> =>
  (await readFile(join(ref.directory, "..", "starts"), "utf8").catch(() => "")).split("\n").length - 1;
/** The host whose calls about files are looked at before they are made; what `look` throws they throw. */
export function withFiles(host: Host, look: (name: keyof HostFiles, args: readonly unknown[]) => void): Host {
  const files = new Proxy(host.files, {
    get(target, name: keyof HostFiles) {
      const plain = target[name];
      if (typeof plain !== "function" || name === "watch")
        return typeof plain === "function" ? plain.bind(target) : plain;
      return async (...args: never[]) => {
        look(name, args);
        return await (plain as (...all: never[]) => unknown).apply(target, args);
      };
    },
  });
  return new Proxy(host, {
    get(target, name: keyof Host) {
      if (name === "files") return files;
      const plain = target[name];
      return typeof plain === "function" ? plain.bind(target) : plain;
    },
  });
}
