import { readdirSync, readFileSync } from "node:fs";
import type { ProcessIdentity } from "./identity.ts";

/** One line of the process table. */
export interface ProcessStat {
  readonly pid: number;
  /** `R`, `S`, `D`, `T`, `Z`… */
  readonly state: string;
  readonly parent: number;
  readonly group: number;
  readonly session: number;
  /** Clock ticks between boot and start. */
  readonly startTicks: number;
}

/** The environment variable by which a process of an attempt is known when it has left its tree. */
export const cookieName = "SITEAGENT_ATTEMPT_TOKEN";

/**
 * It runs no more and only waits for its parent. A process whose first thread has ended shows the same state while other threads run on.
 */
export function hasEnded(stat: ProcessStat): boolean {
  return (stat.state === "Z" || stat.state === "X") && threadsOf(stat.pid).length <= 1;
}

function threadsOf(pid: number): readonly string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
}

/** A direct look at one process; undefined when there is none (or it is hidden from us). */
export function readStat(pid: number): ProcessStat | undefined {
  let line: string;
  try {
    line = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return undefined;
  }
  // The name in field 2 may hold anything, also spaces, brackets and line ends.
  const fields = line.slice(line.lastIndexOf(")") + 2).split(" ");
  const [state = "?", parent, group, session] = fields;
  return {
    pid,
    state,
    parent: Number(parent),
    group: Number(group),
    session: Number(session),
    startTicks: Number(fields[19]),
  };
}

/**
 * All processes. One listing can miss a live process: nothing may be concluded from one absence. The youngest are read first: what forks
 * and ends at once is seen before it is gone.
 */
export function listProcesses(): ReadonlyMap<number, ProcessStat> {
  const found = new Map<number, ProcessStat>();
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  for (const pid of pids.map(Number).toSorted((a, b) => b - a)) {
    const stat = readStat(pid);
    if (stat && stat.state !== "X") found.set(stat.pid, stat);
  }
  return found;
}

/** What is known about an attempt's processes. */
export interface Lineage {
  readonly token: string;
  /** Alive and confirmed, or undefined. */
  readonly recorder: ProcessIdentity | undefined;
  readonly job: ProcessIdentity | undefined;
  /** The job's process is confirmed alive. */
  readonly jobAlive: boolean;
  /** Sessions that were the attempt's at the last look, a moment ago. */
  readonly sessions?: ReadonlySet<number>;
}

/**
 * The living processes of an attempt, without its recorder: descendants of recorder and job, members of the job's session when that is
 * certain to be the job's still, and processes that carry the attempt's cookie, with all their descendants.
 */
export function membersOf(
  lineage: Lineage,
  all: ReadonlyMap<number, ProcessStat> = listProcesses(),
): readonly ProcessStat[] {
  const members = new Set<number>();
  if (lineage.recorder) addDescendants(lineage.recorder.pid, all, members);
  const leader = lineage.job?.pid;
  if (leader !== undefined && lineage.jobAlive) {
    members.add(leader);
    addDescendants(leader, all, members);
  }
  for (const stat of all.values()) {
    if (members.has(stat.pid) || !carriesCookie(stat, lineage.token)) continue;
    members.add(stat.pid);
    addDescendants(stat.pid, all, members);
  }
  // A session number stays reserved while a member lives; one confirmed member (or the leader) makes it the job's session.
  const ours = lineage.jobAlive || [...members].some((pid) => all.get(pid)?.session === leader);
  if (leader !== undefined && ours) {
    for (const stat of all.values()) if (stat.session === leader) members.add(stat.pid);
  }
  for (const stat of all.values()) {
    const led = all.get(stat.session);
    // Where the leader lives and is no member, the number is another's by now.
    if (lineage.sessions?.has(stat.session) && (led === undefined || members.has(led.pid))) members.add(stat.pid);
  }
  if (lineage.recorder) members.delete(lineage.recorder.pid);
  members.delete(process.pid);
  return [...members].flatMap((pid) => all.get(pid) ?? []).filter((stat) => !hasEnded(stat));
}

function addDescendants(root: number, all: ReadonlyMap<number, ProcessStat>, into: Set<number>): void {
  const children = Map.groupBy(all.values(), (stat) => stat.parent);
  const look = [root];
  for (let parent = look.pop(); parent !== undefined; parent = look.pop()) {
    for (const child of children.get(parent) ?? []) {
      if (into.has(child.pid)) continue;
      into.add(child.pid);
      look.push(child.pid);
    }
  }
}

function carriesCookie(stat: ProcessStat, token: string): boolean {
  // Of a process whose first thread has ended the others can tell.
  const thread = stat.state === "Z" ? threadsOf(stat.pid).at(-1) : undefined;
  const directory = thread === undefined ? `/proc/${stat.pid}` : `/proc/${stat.pid}/task/${thread}`;
  try {
    return readFileSync(`${directory}/environ`, "latin1").split("\0").includes(`${cookieName}=${token}`);
  } catch {
    return false; // another user's, or it ended while we looked
  }
}
