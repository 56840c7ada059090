/** Commands and paths as the cases of the suite use them. */
import { readdirSync, readFileSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Host, RunRequest, RunResult } from "../../hosts/types.ts";
import { callContext } from "../suite.ts";
import { waitFor } from "../wait.ts";

/** One host whose files and processes the cases can see for themselves: it leads to this machine. */
export interface HostHarness extends AsyncDisposable {
  readonly host: Host;
  /** A directory beside the workdir, where commands of the cases run. */
  readonly root: string;
}

/** A command of `sh` in that directory. */
export function shell(root: string, script: string, change: Partial<RunRequest> = {}): RunRequest {
  return {
    argv: ["/bin/sh", "-c", script],
    cwd: root,
    environment: { PATH: "/usr/bin:/bin" },
    timeoutMs: 30_000,
    maxOutputBytes: 65_536,
    ...change,
  };
}

export function run({ host, root }: HostHarness, script: string, change?: Partial<RunRequest>): Promise<RunResult> {
  return host.run(shell(root, script, change), callContext());
}

/** A path below the work directory. */
export function at({ host }: HostHarness, ...parts: readonly string[]): string {
  return join(host.workdir, ...parts);
}

/** A directory for commands, made. */
export async function directoryOf({ root }: HostHarness, name: string): Promise<string> {
  const path = join(root, name);
  await mkdir(path, { recursive: true });
  return path;
}

export async function pidIn(directory: string, name: string): Promise<number> {
  return waitFor(async () => Number(await readFile(join(directory, name), "utf8")), { what: `a pid in ${name}` });
}

export async function untilGone(...pids: readonly number[]): Promise<void> {
  await waitFor(() => !pids.some(isAlive), { what: `processes ${pids.join(", ")} to be gone` });
}

/** There, and no zombie. */
function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const over = "ZX".includes(stat.charAt(stat.lastIndexOf(")") + 2));
    // With other threads it runs on, whatever became of the first.
    return !over || readdirSync(`/proc/${pid}/task`).length > 1;
  } catch {
    return false; // it ended while we looked
  }
}
