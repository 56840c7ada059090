import { spawn } from "node:child_process";
import type { Logger } from "./logger.ts";

/** The service manager that started us and waits to hear from us. */
export interface ServiceManager {
  /** It aborts and restarts us when it hears no sign of life for this long, milliseconds; undefined: it does not watch. */
  readonly watchdogMs: number | undefined;
  /** Tells it, e.g. `READY=1` or `STATUS=…`. Never throws: a manager that cannot be told is no reason to stop. */
  tell(...assignments: readonly string[]): Promise<void>;
}

const program = "systemd-notify";
const tellTimeoutMs = 10_000;

/**
 * systemd, when it started us with `Type=notify`. Takes its variables out of `env`: no job, hook or runner may speak in our name.
 * Node has no datagram sockets for the file system, so the program `systemd-notify` sends (hence `NotifyAccess=all` in the unit).
 */
export function takeServiceManager(env: NodeJS.ProcessEnv, log: Logger): ServiceManager | undefined {
  const { NOTIFY_SOCKET: socket, WATCHDOG_USEC: usec, WATCHDOG_PID: watched, PATH: path = "/usr/bin:/bin" } = env;
  for (const name of ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"]) delete env[name];
  if (!socket) return undefined;
  const isWatched =
    usec !== undefined && Number(usec) > 0 && (watched === undefined || Number(watched) === process.pid);
  let told = Promise.resolve();
  return {
    watchdogMs: isWatched ? Number(usec) / 1000 : undefined,
    // One after the other: a sign of life that was on its way must not arrive after the word that we stop.
    tell(...assignments) {
      told = told.then(async () => {
        const problem = await send({ PATH: path, NOTIFY_SOCKET: socket }, assignments.map(oneLine));
        if (problem !== undefined) log.warn({ problem, assignments }, "systemd could not be told");
      });
      return told;
    },
  };
}

/** Undefined when it was sent. */
function send(env: NodeJS.ProcessEnv, assignments: readonly string[]): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const child = spawn(program, ["--no-block", ...assignments], { env, stdio: "ignore", timeout: tellTimeoutMs });
  child.once("error", (error) => resolve(error.message));
  child.once("exit", (code, signal) => resolve(code === 0 ? undefined : `${program} ended with ${code ?? signal}`));
  return promise;
}

/** A line end would begin another assignment. */
function oneLine(assignment: string): string {
  return assignment.replace(/\p{Cc}+/gu, " ").slice(0, 500);
}
