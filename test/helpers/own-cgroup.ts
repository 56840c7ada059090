import { existsSync, mkdirSync, readFileSync, readdirSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
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
  writeFileSync(join(entered.parent, "cgroup.procs"), `${process.pid}`);
  removeGroups(entered.directory);
  entered = undefined;
}

/** CPU seconds of all that ever was in the group that `enterOwnCgroup` made, ourselves included; undefined without it. */
export function cpuSecondsOfOwnCgroup(): number | undefined {
  if (entered === undefined) return undefined;
  const used = /^usage_usec (\d+)$/m.exec(readFileSync(join(entered.directory, "cpu.stat"), "utf8"))?.[1];
  return used === undefined ? undefined : Number(used) / 1e6;
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
