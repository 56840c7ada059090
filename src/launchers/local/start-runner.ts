import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, renameSync, statSync } from "node:fs";
import { extname, join } from "node:path";
import { Fault } from "../../common/fault.ts";

export interface RunnerStart {
  readonly nodePath: string;
  readonly socketPath: string;
  readonly stateDirectory: string;
  readonly containment: "auto" | "cgroup" | "subreaper" | "group";
  readonly idleMs: number;
  readonly openFiles: number;
  /** Versions that the runner speaks; for tests of older runners. */
  readonly versions?: readonly number[] | undefined;
}

/** The runner's log is begun anew when it is longer; the old one is kept as `.1`. */
const longestLogBytes = 1024 * 1024;
/** Only these reach the runner: it holds no secret, and neither do the recorders that it starts. */
const passed = ["SITEAGENT_TEST", "SITEAGENT_FAILPOINTS", "SITEAGENT_FAILPOINT_TRACE"];

/**
 * Starts a runner in a session of its own and does not wait for it. The lock is the kernel's (flock), held by the runner for as long as it
 * lives: of several started at once one goes on, the others end at once.
 */
export function startRunner(start: RunnerStart): void {
  mkdirSync(start.stateDirectory, { recursive: true, mode: 0o700 });
  const extension = extname(import.meta.filename);
  const main = join(import.meta.dirname, "..", "..", "runner", `main${extension}`);
  const log = openLog(join(start.stateDirectory, "runner.log"));
  const env: Record<string, string> = { PATH: "/usr/local/bin:/usr/bin:/bin", LC_ALL: "C" };
  for (const name of passed) if (process.env[name] !== undefined) env[name] = process.env[name];
  const args = [
    ...["--nonblock", "--no-fork", `${start.socketPath}.lock`, start.nodePath, main],
    ...["--socket", start.socketPath, "--state", start.stateDirectory, "--containment", start.containment],
    ...["--idle-ms", String(start.idleMs), "--open-files", String(start.openFiles)],
    ...(start.versions ? ["--versions", start.versions.join(",")] : []),
  ];
  try {
    const child = spawn("flock", args, { detached: true, stdio: ["ignore", "ignore", log], env, cwd: "/" });
    child.on("error", () => {}); // seen as a runner that does not answer; probe says that flock is missing
    child.unref();
  } catch (error) {
    throw new Fault("RUNNER", "cannot start the runner", { cause: error });
  } finally {
    closeSync(log);
  }
}

function openLog(path: string): number {
  try {
    if (statSync(path).size > longestLogBytes) renameSync(path, `${path}.1`);
  } catch {
    // no log yet
  }
  return openSync(path, "a", 0o600);
}
