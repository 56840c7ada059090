import { afterEach, beforeEach } from "vitest";
import { descendantsOf, listProcesses, type ProcessEntry } from "./processes.ts";
import { madeTemporaryDirectories } from "./temporary.ts";
import { waitFor } from "./wait.ts";

/** What ends together with the test may need a moment. */
const graceMs = 3_000;

/**
 * Called once at the top of a test file: from then on a test fails when a process that it started is alive after it:
 * a descendant of this worker, or any process whose working directory lies in a temporary directory of this worker
 * (daemons that left our tree). What is found is killed, so that the next test starts clean. Not for concurrent tests.
 */
export function failOnLeakedProcesses(): void {
  let before = new Set<string>();
  beforeEach(() => {
    before = new Set(ours().map(identity));
  });
  afterEach(async () => {
    const leaked = (): readonly ProcessEntry[] => ours().filter((entry) => !before.has(identity(entry)));
    try {
      await waitFor(() => leaked().length === 0, {
        timeoutMs: graceMs,
        what: () => `the end of ${describe(leaked())}`,
      });
    } catch (error) {
      for (const entry of leaked()) kill(entry.pid);
      throw new Error("the test left processes behind", { cause: error });
    }
  });
}

function describe(entries: readonly ProcessEntry[]): string {
  return entries.map((entry) => `${entry.pid} (${entry.command})`).join(", ");
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // it ended by itself
  }
}

function identity(entry: ProcessEntry): string {
  return `${entry.pid}:${entry.startTicks}`;
}

function ours(): readonly ProcessEntry[] {
  const all = listProcesses();
  const found = new Map(descendantsOf(process.pid, all).map((entry) => [entry.pid, entry]));
  const directories = madeTemporaryDirectories();
  for (const entry of all) {
    const { cwd } = entry;
    if (cwd === undefined || entry.pid === process.pid) continue;
    if (directories.some((path) => cwd === path || cwd.startsWith(`${path}/`))) found.set(entry.pid, entry);
  }
  return [...found.values()];
}
