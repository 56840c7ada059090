/** What the processes of an installation hold when nothing is under way: descriptors and children; a part of the oracle. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { descendantsOf, listProcesses, type ProcessEntry } from "./processes.ts";

/** A long-lived process of an installation. */
export interface Resident {
  readonly kind: "agent" | "hub" | "runner";
  readonly pid: number;
}

/**
 * So many connections may come and go beside those of the first look: kept alive for the next call, or not yet noticed as closed. An agent
 * that had much to say at once has eight in each of its two lanes, at both ends.
 */
const socketSlack = 16;

type Counts = ReadonlyMap<string, number>;

/**
 * Compares what agent, hub and runner hold at rest with what the first process of their kind held at its first look: by kind of descriptor
 * no more, but for a few sockets. A process that comes after a kill is measured by the first one, too.
 */
export class Rest {
  readonly #first = new Map<Resident["kind"], Counts>();
  readonly #root: string;

  /** `root` is the directory of the installation. */
  constructor(root: string) {
    this.#root = root;
  }

  /** What is held too much; empty = at rest. */
  problems(residents: readonly Resident[]): readonly string[] {
    const all = listProcesses();
    const pids = new Set(residents.map(({ pid }) => pid));
    return residents.flatMap((resident) => [
      ...this.#descriptors(resident),
      ...childrenOf(resident, all, pids).map((child) => `${nameOf(resident)} has the child ${child}`),
    ]);
  }

  #descriptors(resident: Resident): readonly string[] {
    const targets = targetsOf(resident.pid);
    const wrong = targets
      .filter((target) => this.#isOfJobs(target))
      .map((target) => `${nameOf(resident)} holds '${target}' open, and no job runs`);
    const counts = countsOf(targets);
    const first = this.#first.get(resident.kind);
    if (first === undefined) {
      if (wrong.length === 0) this.#first.set(resident.kind, counts);
      return wrong;
    }
    for (const [kind, count] of counts) {
      const most = (first.get(kind) ?? 0) + (kind === "socket" ? socketSlack : 0);
      if (count <= most) continue;
      const which = targets.filter((target) => kindOf(target) === kind).join(", ");
      wrong.push(`${nameOf(resident)} holds ${count} descriptors of kind '${kind}', ${most} at most before: ${which}`);
    }
    return wrong;
  }

  /** Files of jobs, their inputs and outputs, and whatever was removed, need nobody's descriptor any more. */
  #isOfJobs(target: string): boolean {
    const isOurs = target.startsWith(`${this.#root}/`);
    const isDeleted = isOurs && target.endsWith(" (deleted)");
    return isDeleted || ["work", "inputs", "delivered"].some((name) => target.startsWith(join(this.#root, name, "/")));
  }
}

function nameOf({ kind, pid }: Resident): string {
  return `the ${kind} (${pid})`;
}

/** What the descriptors of a process lead to; none when it has ended. */
function targetsOf(pid: number): readonly string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).flatMap((name) => {
      try {
        return [readlinkSync(`/proc/${pid}/fd/${name}`)];
      } catch {
        return []; // closed while we looked
      }
    });
  } catch {
    return [];
  }
}

function countsOf(targets: readonly string[]): Counts {
  const counts = new Map<string, number>();
  for (const target of targets) counts.set(kindOf(target), (counts.get(kindOf(target)) ?? 0) + 1);
  return counts;
}

/** `socket`, `pipe`, `anon_inode:[eventpoll]`, …; `device` and `file` for paths. */
function kindOf(target: string): string {
  const numbered = /^(socket|pipe):\[\d+\]$/.exec(target)?.[1];
  if (numbered !== undefined) return numbered;
  if (!target.startsWith("/")) return target;
  return target.startsWith("/dev/") ? "device" : "file";
}

/** Below a process at rest there is nobody: but for the other residents, what forks recorders for a runner, and a runner's own of old. */
function childrenOf(
  resident: Resident,
  all: readonly ProcessEntry[],
  residents: ReadonlySet<number>,
): readonly string[] {
  const isServing = (entry: ProcessEntry): boolean => / --serve\b/.test(entry.command) && residents.has(entry.parent);
  const others = descendantsOf(resident.pid, all).filter((entry) => !residents.has(entry.pid) && !isServing(entry));
  return [...others.map(({ pid, command }) => `${pid} (${command.slice(0, 200)})`), ...zombiesOf(resident.pid)];
}

/** Children that have ended and that nobody has waited for. */
function zombiesOf(parent: number): readonly string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, "utf8");
        const [state, ppid] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
        return state === "Z" && Number(ppid) === parent ? [`${name} (ended, not waited for)`] : [];
      } catch {
        return []; // it is gone
      }
    });
}
