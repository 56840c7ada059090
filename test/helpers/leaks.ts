import { appendFileSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { relative } from "node:path";
import { afterAll, afterEach, beforeEach, expect } from "vitest";
import { cpuSecondsOfOwnCgroup, enterOwnCgroup, leaveOwnCgroup, pidsOfOwnCgroup } from "./own-cgroup.ts";
import { descendantsOf, killIfThere, listProcesses, type ProcessEntry } from "./processes.ts";
import { madeTemporaryDirectories } from "./temporary.ts";
import { waitFor } from "./wait.ts";

/** What ends together with the test may need a moment. */
const graceMs = 3_000;

/**
 * Run for every file of the projects that start processes (test/helpers/leaks-setup.ts): a file fails when a process that it started is
 * alive after its last hook. Where the machine gives this worker a control group of its own nothing can leave that; elsewhere it is any
 * descendant of this worker, and any process that works in a temporary directory of this worker, names one in its command line or
 * environment, or holds a file there open (daemons that left our tree). What is found is killed.
 */
export function failFileOnLeakedProcesses(): void {
  enterOwnCgroup();
  const before = new Set(ours().map(identity));
  afterAll(async () => {
    try {
      await nothingLeft("the file", before);
    } finally {
      noteCpu();
      leaveOwnCgroup();
    }
  });
}

/** `TEST_CPU=FILE npm test`: a line for each test file with the CPU seconds of all its processes. */
function noteCpu(): void {
  const file = process.env["TEST_CPU"];
  const seconds = cpuSecondsOfOwnCgroup();
  if (file === undefined || seconds === undefined) return;
  appendFileSync(file, `${seconds.toFixed(1)} ${relative(process.cwd(), expect.getState().testPath ?? "")}\n`);
}

/**
 * Called once at the top of a test file: from then on each test fails that leaves a process behind, so that the next one starts clean. Not
 * for concurrent tests.
 */
export function failOnLeakedProcesses(): void {
  let before: ReadonlySet<string> = new Set();
  beforeEach(() => {
    before = new Set(ours().map(identity));
  });
  afterEach(() => nothingLeft("the test", before));
}

async function nothingLeft(whose: string, before: ReadonlySet<string>): Promise<void> {
  const leaked = (): readonly ProcessEntry[] => ours().filter((entry) => !before.has(identity(entry)));
  try {
    await waitFor(() => leaked().length === 0, {
      timeoutMs: graceMs,
      what: () => `the end of ${describe(leaked())}`,
    });
  } catch (error) {
    for (const entry of leaked()) killIfThere(entry.pid);
    throw new Error(`${whose} left processes behind`, { cause: error });
  }
}

function describe(entries: readonly ProcessEntry[]): string {
  return entries.map((entry) => `${entry.pid} (${entry.command})`).join(", ");
}

function identity(entry: ProcessEntry): string {
  return `${entry.pid}:${entry.startTicks}`;
}

function ours(): readonly ProcessEntry[] {
  const all = listProcesses();
  const found = new Set([...descendantsOf(process.pid, all).map((entry) => entry.pid), ...pidsOfOwnCgroup()]);
  const directories = madeTemporaryDirectories();
  for (const { pid } of all) if (!found.has(pid) && touches(pid, directories)) found.add(pid);
  found.delete(process.pid);
  return all.filter((entry) => found.has(entry.pid));
}

/** Has this process to do with one of the directories, as far as we may see it? */
function touches(pid: number, directories: readonly string[]): boolean {
  if (directories.length === 0) return false;
  const names = (text: string): boolean => directories.some((path) => text.includes(path));
  const readable = (read: () => string | readonly string[]): boolean => {
    try {
      const text = read();
      return typeof text === "string" ? names(text) : text.some(names);
    } catch {
      return false; // another user's, or it ended while we looked
    }
  };
  return (
    readable(() => readlinkSync(`/proc/${pid}/cwd`)) ||
    readable(() => readFileSync(`/proc/${pid}/cmdline`, "latin1")) ||
    readable(() => readFileSync(`/proc/${pid}/environ`, "latin1")) ||
    readable(() => readdirSync(`/proc/${pid}/fd`).map((name) => readlinkSync(`/proc/${pid}/fd/${name}`)))
  );
}
