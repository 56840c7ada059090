import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** Where the kernel counts the processes that it killed for lack of memory. */
export interface OomCounter {
  /** `memory.events` (version 2), `memory.oom_control` (version 1) or `/proc/vmstat`: each has a line `oom_kill N`. */
  readonly file: string;
  /** What it said before the attempt began. */
  readonly count: number;
  /** Of the attempt alone: more is proof. Else others are counted, too: more is a hint. */
  readonly alone: boolean;
}

/** A count that others share may be as old, milliseconds: reading it costs each start of a short job something. */
const freshMs = 1_000;

/** `oom_kill N` of a kernel's file; undefined when there is no such line (a kernel before 4.13). */
export function parseOomKills(text: string): number | undefined {
  const count = /^oom_kill (\d{1,15})$/m.exec(text)?.[1];
  return count === undefined ? undefined : Number(count);
}

/** The counter of a group of version 2 that is one attempt's; undefined when memory is not counted there. A new group begins at 0. */
export function ownOomCounter(cgroup: string): OomCounter | undefined {
  const file = join(cgroup, "memory.events");
  return existsSync(file) ? { file, count: 0, alone: true } : undefined;
}

/** Counts for attempts that have no counter of their own: what counts this process's memory counts theirs. */
export class SharedOomCounter {
  readonly #file: string | undefined;
  #count: number | undefined;
  #readAt = -Infinity;

  constructor(file: string | undefined = sharedOomFile()) {
    this.#file = file;
  }

  now(): OomCounter | undefined {
    if (this.#file === undefined) return undefined;
    if (performance.now() - this.#readAt > freshMs) {
      this.#count = killsIn(this.#file);
      this.#readAt = performance.now();
    }
    return this.#count === undefined ? undefined : { file: this.#file, count: this.#count, alone: false };
  }
}

/** The narrowest counter that counts this process, too. */
function sharedOomFile(): string | undefined {
  return sharedOomFiles(readText("/proc/self/mountinfo"), readText("/proc/self/cgroup")).find(
    (file) => killsIn(file) !== undefined,
  );
}

/** Where counters may be that count a process with these mounts and groups, narrowest first. */
export function sharedOomFiles(mountinfo: string, cgroups: string): readonly string[] {
  const places = mountinfo.split("\n").flatMap((line) => {
    const fields = line.split(" ");
    const [root = "", mount = ""] = fields.slice(3, 5);
    const [type = "", , options = ""] = fields.slice(fields.indexOf("-") + 1);
    if (type === "cgroup2") return [{ root, mount, path: /^0::(\/.*)$/m.exec(cgroups)?.[1], name: "memory.events" }];
    if (type !== "cgroup" || !options.split(",").includes("memory")) return [];
    return [
      {
        root,
        mount,
        path: /^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(\/.*)$/m.exec(cgroups)?.[1],
        name: "memory.oom_control",
      },
    ];
  });
  const files = places.flatMap(({ root, mount, path, name }) => {
    if (path === undefined) return [];
    const below = root !== "/" && path.startsWith(root) ? path.slice(root.length) : path;
    const directory = join(mount, below);
    // Version 2 counts in all groups above, too; version 1 in the process's own alone.
    return name === "memory.events" ? upTo(mount, directory).map((one) => join(one, name)) : [join(directory, name)];
  });
  return [...files, "/proc/vmstat"];
}

function upTo(top: string, directory: string): readonly string[] {
  if (directory === top || !directory.startsWith(top)) return [top];
  return [directory, ...upTo(top, dirname(directory))];
}

function killsIn(file: string): number | undefined {
  return parseOomKills(readText(file));
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
