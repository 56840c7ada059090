import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { cgroupPids } from "./attempt-status.ts";

/** A part of the version 2 control group tree that is ours: one group for each attempt. */
export interface CgroupBase {
  readonly directory: string;
}

const youngMs = 60_000;
/** Where `DelegateSubgroup=` of the runner's unit puts the runner itself: the groups of attempts then lie beside it. */
const runnerSubgroup = "siteagent-runner";

/**
 * A place for our groups, when a trial shows that a process can be put there and killed there. Undefined when not: no version 2 tree, not
 * ours to write, or a kernel before 5.14. The name depends on user and state directory only, so that a later runner finds it.
 */
export async function probeCgroups(stateDirectory: string): Promise<CgroupBase | undefined> {
  const directory = cgroupBase(stateDirectory);
  if (directory === undefined) return undefined;
  try {
    mkdirSync(directory, { recursive: true });
    countMemory(directory);
    sweep(directory);
    if (await trial(join(directory, `probe-${process.pid}`))) return { directory };
  } catch {
    // not ours to write
  }
  removeCgroup(directory);
  return undefined;
}

/** Where the groups of this user and state directory lie; undefined when there is no version 2 tree. */
export function cgroupBase(stateDirectory: string, own: string | undefined = ownGroup()): string | undefined {
  if (own === undefined) return undefined;
  const key = createHash("sha256").update(`${process.getuid?.()} ${stateDirectory}`).digest("hex").slice(0, 12);
  return join(basename(own) === runnerSubgroup ? dirname(own) : own, `siteagent-${key}`);
}

/**
 * Lets the kernel count the memory of each group below the base, if it may: in a group with processes of its own no controller can be
 * switched on, and one that systemd starts processes in must not have any. So only in the base, which is ours, and in the unit's group where
 * systemd has put this process below it.
 */
export function countMemory(base: string, own: string | undefined = ownGroup()): void {
  const isBesideUs = own !== undefined && basename(own) === runnerSubgroup && dirname(own) === dirname(base);
  for (const group of isBesideUs ? [dirname(base), base] : [base]) {
    try {
      writeFileSync(join(group, "cgroup.subtree_control"), "+memory");
    } catch {
      // not ours, or without this controller: what ends an attempt is told all the same, but not that it was lack of memory
    }
  }
}

/** Empty groups of attempts whose recorder was killed; a young one may be about to be entered. */
function sweep(base: string): void {
  for (const entry of readdirSync(base, { withFileTypes: true })) {
    const path = join(base, entry.name);
    if (entry.isDirectory() && Date.now() - statSync(path).mtimeMs > youngMs) removeCgroup(path);
  }
}

/** Makes an attempt's own group. */
export function makeCgroup(base: CgroupBase, token: string): string {
  const directory = join(base.directory, token);
  mkdirSync(directory, { recursive: true });
  return directory;
}

/** Removes an empty group; a group with processes stays. */
export function removeCgroup(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // still in use, or gone
  }
}

/** Kills all that is in the group, at once and for good. False when that cannot be asked. */
export function killCgroup(directory: string): boolean {
  try {
    writeFileSync(join(directory, "cgroup.kill"), "1");
    return true;
  } catch {
    return false;
  }
}

/** The directory of our own group in the version 2 tree; undefined when there is none. */
export function ownGroup(): string | undefined {
  const mount = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" "))
    .find((fields) => fields[fields.indexOf("-") + 1] === "cgroup2");
  const path = /^0::(\/.*)$/m.exec(readFileSync("/proc/self/cgroup", "utf8"))?.[1];
  if (!mount?.[4] || path === undefined) return undefined;
  return join(mount[4], path);
}

async function trial(directory: string): Promise<boolean> {
  mkdirSync(directory);
  try {
    if (!existsSync(join(directory, "cgroup.kill"))) return false;
    const child = spawn("/bin/sh", ["-c", 'echo 0 >"$1/cgroup.procs" && echo in && exec sleep 60', "sh", directory], {
      stdio: ["ignore", "pipe", "ignore"],
      env: { PATH: "/usr/bin:/bin" },
    });
    const ended = new Promise<string | null>((resolve) => {
      child.once("exit", (_code, signal) => resolve(signal));
      child.once("error", () => resolve(null));
    });
    const inside = await Promise.race([
      new Promise<boolean>((resolve) => child.stdout.once("data", () => resolve(true))),
      ended.then(() => false),
    ]);
    const seen = inside && child.pid !== undefined && cgroupPids(directory).includes(child.pid);
    if (!seen || !killCgroup(directory)) child.kill("SIGKILL");
    return (await ended) === "SIGKILL" && seen;
  } finally {
    removeCgroup(directory);
  }
}
