import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { errnoOf } from "../../src/common/fault.ts";

/** A live process as /proc tells it. */
export interface ProcessEntry {
  readonly pid: number;
  readonly parent: number;
  /** Clock ticks since boot; with the pid it identifies the process. */
  readonly startTicks: number;
  readonly command: string;
  /** Working directory, if it may be read. */
  readonly cwd: string | undefined;
}

/** All processes that are not zombies. */
export function listProcesses(): readonly ProcessEntry[] {
  const entries: ProcessEntry[] = [];
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const entry = readProcess(Number(name));
    if (entry) entries.push(entry);
  }
  return entries;
}

/** One process, or undefined when there is none or only its zombie is left. */
export function readProcess(pid: number): ProcessEntry | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const [state, parent, ...rest] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // With other threads it runs on, whatever became of the first.
    const over = state === undefined || "ZX".includes(state);
    if (over && readdirSync(`/proc/${pid}/task`).length <= 1) return undefined;
    const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
    return { pid, parent: Number(parent), startTicks: Number(rest[17]), command, cwd: readCwd(pid) };
  } catch {
    return undefined; // it ended while we looked
  }
}

/** Unless it has ended meanwhile. @throws Error of the system when it may not be signalled */
export function killIfThere(pid: number, signal: NodeJS.Signals = "SIGKILL"): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (errnoOf(error) !== "ESRCH") throw error;
  }
}

/** True while the process is there and no zombie. */
export function isAlive(pid: number): boolean {
  return readProcess(pid) !== undefined;
}

function readCwd(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/cwd`).replace(/ \(deleted\)$/, "");
  } catch {
    return undefined;
  }
}

/** Of `all`: the descendants of `root`, without itself. */
export function descendantsOf(root: number, all: readonly ProcessEntry[]): readonly ProcessEntry[] {
  const found: ProcessEntry[] = [];
  const parents = [root];
  for (let parent = parents.pop(); parent !== undefined; parent = parents.pop()) {
    for (const entry of all) {
      if (entry.parent !== parent) continue;
      found.push(entry);
      parents.push(entry.pid);
    }
  }
  return found;
}
