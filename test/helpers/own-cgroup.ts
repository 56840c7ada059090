import { appendFileSync, existsSync, mkdirSync, readFileSync, readdirSync, rmdirSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { expect } from "vitest";
import { cgroupPids } from "../../src/runner/attempt-status.ts";
import { ownGroup } from "../../src/runner/cgroups.ts";

let entered: { readonly parent: string; readonly directory: string } | undefined;

/**
 * Moves this process into a control group of its own, once: whatever it starts from then on stays in that group or below, also what leaves
 * session, parent, environment and directory. False where the machine gives us no such group.
 */
export function enterOwnCgroup(): boolean {
  if (entered !== undefined) return true;
  const parent = ownGroup();
  if (parent === undefined) return false;
  const directory = join(parent, `siteagent-test-${process.pid}`);
  try {
    sweep(parent);
    mkdirSync(directory);
    writeFileSync(join(directory, "cgroup.procs"), `${process.pid}`);
  } catch {
    removeGroups(directory);
    return false;
  }
  entered = { parent, directory };
  return true;
}

/** Goes back where we came from and removes the group; one in which somebody lives stays. */
export function leaveOwnCgroup(): void {
  if (entered === undefined) return;
  noteUsage(entered.directory);
  writeFileSync(join(entered.parent, "cgroup.procs"), `${process.pid}`);
  removeGroups(entered.directory);
  entered = undefined;
}

/** `TEST_CPU=FILE npm test`: a line for each test file with the CPU seconds of all its processes, those that left its tree included. */
function noteUsage(directory: string): void {
  const file = process.env["TEST_CPU"];
  if (file === undefined) return;
  const used = /^usage_usec (\d+)$/m.exec(readFileSync(join(directory, "cpu.stat"), "utf8"))?.[1] ?? "0";
  const test = relative(process.cwd(), expect.getState().testPath ?? "");
  appendFileSync(file, `${(Number(used) / 1e6).toFixed(1)} ${test}\n`);
}

/** The processes in the group that `enterOwnCgroup` made, ourselves included; none without it. */
export function pidsOfOwnCgroup(): readonly number[] {
  return entered === undefined ? [] : cgroupPids(entered.directory);
}

/** Groups of test processes that were killed. */
function sweep(parent: string): void {
  for (const name of readdirSync(parent)) {
    const pid = /^siteagent-test-(\d+)$/.exec(name)?.[1];
    if (pid !== undefined && (Number(pid) === process.pid || !existsSync(`/proc/${pid}`)))
      removeGroups(join(parent, name));
  }
}

/** With the empty groups below, which runners that were killed leave. */
export function removeGroups(directory: string): void {
  try {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      if (entry.isDirectory()) removeGroups(join(directory, entry.name));
    }
    rmdirSync(directory);
  } catch {
    // somebody lives there still, or it is gone
  }
}
