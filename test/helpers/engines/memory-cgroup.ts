import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sharedOomFiles } from "../../../src/runner/oom.ts";
import { waitFor } from "../wait.ts";
import type { Engine } from "./engine.ts";

/** A control group of either version whose memory the kernel limits. */
export interface MemoryCgroup extends AsyncDisposable {
  readonly directory: string;
  /** Counts the processes in it that were killed for lack of memory. */
  readonly counter: string;
}

let made = 0;

/** Makes one below our own group, so that whatever limits us limits it. @throws where this account or kernel does not let us. */
export function makeMemoryCgroup(limitBytes: number): MemoryCgroup {
  const [file = ""] = sharedOomFiles(
    readFileSync("/proc/self/mountinfo", "utf8"),
    readFileSync("/proc/self/cgroup", "utf8"),
  ).filter((path) => path !== "/proc/vmstat" && existsSync(path));
  const [own, name] = [join(file, ".."), file.endsWith("memory.events") ? "memory.events" : "memory.oom_control"];
  const directory = join(own, `siteagent-test-${process.pid}-${++made}`);
  mkdirSync(directory);
  const remove = async (): Promise<void> => {
    // A recorder removes the group of its attempt.
    const remains = (): boolean => existsSync(directory) && (rmdirSync(directory), existsSync(directory));
    await waitFor(() => !remains(), { what: `the end of '${directory}'` });
  };
  try {
    if (name === "memory.events") {
      writeFileSync(join(directory, "memory.max"), `${limitBytes}`);
      if (existsSync(join(directory, "memory.swap.max"))) writeFileSync(join(directory, "memory.swap.max"), "0");
    } else {
      writeFileSync(join(directory, "memory.limit_in_bytes"), `${limitBytes}`);
      const withSwap = join(directory, "memory.memsw.limit_in_bytes");
      if (existsSync(withSwap)) writeFileSync(withSwap, `${limitBytes}`);
    }
  } catch (error) {
    rmdirSync(directory);
    throw error;
  }
  return { directory, counter: join(directory, name), [Symbol.asyncDispose]: remove };
}

/** Control groups of our own in which the kernel limits memory: root, and on version 2 a group whose children have the controller. */
export const memoryCgroup: Engine = {
  debianPackages: [],
  async probe() {
    try {
      await using group = makeMemoryCgroup(64 * 1024 * 1024);
      return { ok: true, version: group.counter.endsWith("memory.events") ? "version 2" : "version 1" };
    } catch (error) {
      return {
        ok: false,
        reason: `no memory control groups of our own: ${error instanceof Error ? error.message : ""}`,
      };
    }
  },
};
