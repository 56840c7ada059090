import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, renameSync, statSync } from "node:fs";
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
/** Only these reach the runner (the last two are for systemd-run): it holds no secret, and neither do the recorders that it starts. */
const passed = [
  ...["SITEAGENT_TEST", "SITEAGENT_FAILPOINTS", "SITEAGENT_FAILPOINT_DIRECTORY"],
  ...["XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"],
  "NODE_COMPILE_CACHE",
];

/**
 * As `bin/siteagent` starts agent and runner: they live long beside other people's work. Without the first a runner's young generation grows with
 * each burst of short jobs; without the others each thread has a heap of its own, and what is free stays with the process.
 */
const lean = {
  flags: ["--max-semi-space-size=1"],
  environment: { MALLOC_ARENA_MAX: "1", MALLOC_TRIM_THRESHOLD_: "131072" },
} as const;

/** What decides how the runner leaves our control group. */
export interface Surroundings {
  /** systemd runs this machine. */
  readonly systemd: boolean;
  readonly root: boolean;
}

/**
 * Starts a runner in a session of its own and does not wait for it. Where systemd runs the machine it also gets a scope of its own, so that
 * stopping the agent's unit (or logging out) does not take the attempts along; where that is refused it starts without. The lock is the
 * kernel's (flock), held by the runner for as long as it lives: of several started at once one goes on, the others end at once.
 */
export function startRunner(start: RunnerStart): void {
  mkdirSync(start.stateDirectory, { recursive: true, mode: 0o700 });
  const here = { systemd: existsSync("/run/systemd/system"), root: process.getuid?.() === 0 };
  spawnRunner(start, runnerCommand(start, here), () => {
    if (here.systemd) spawnRunner(start, runnerCommand(start, { ...here, systemd: false }), () => {});
  });
}

/** The command line that becomes the runner. */
export function runnerCommand(start: RunnerStart, here: Surroundings): readonly [string, ...string[]] {
  const extension = extname(import.meta.filename);
  const main = join(import.meta.dirname, "..", "..", "runner", `main${extension}`);
  const scope = ["systemd-run", ...(here.root ? [] : ["--user"]), "--scope", "--quiet", "--collect"];
  const [program = "flock", ...rest] = [
    ...(here.systemd ? [...scope, "--property=Delegate=yes", "--"] : []),
    ...["flock", "--nonblock", "--no-fork", `${start.socketPath}.lock`, start.nodePath, ...lean.flags, main],
    ...["--socket", start.socketPath, "--state", start.stateDirectory, "--containment", start.containment],
    ...["--idle-ms", String(start.idleMs), "--open-files", String(start.openFiles)],
    ...(start.versions ? ["--versions", start.versions.join(",")] : []),
  ];
  return [program, ...rest];
}

function spawnRunner(start: RunnerStart, command: readonly [string, ...string[]], onFailure: () => void): void {
  const [program, ...args] = command;
  const env: Record<string, string> = { PATH: "/usr/local/bin:/usr/bin:/bin", LC_ALL: "C", ...lean.environment };
  for (const name of passed) if (process.env[name] !== undefined) env[name] = process.env[name];
  const log = openLog(join(start.stateDirectory, "runner.log"));
  try {
    const child = spawn(program, args, { detached: true, stdio: ["ignore", "ignore", log], env, cwd: "/" });
    // Otherwise seen as a runner that does not answer; probe says that flock is missing.
    child.once("error", onFailure);
    child.once("exit", (code) => {
      if (code !== 0) onFailure();
    });
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
