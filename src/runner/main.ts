/**
 * The runner: starts recorders for the launcher `local` and ends trees of processes. It outlives the agent, ends when idle, and may be
 * killed at any time: what runs goes on, and everything that matters is in the attempts' directories.
 */
import { chmodSync, closeSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import type { Server } from "node:net";
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import { systemClock } from "../common/clock.ts";
import { failpoint } from "../common/failpoint.ts";
import { Fault } from "../common/fault.ts";
import { createLogger } from "../common/pino.ts";
import { Attempts } from "./attempts.ts";
import { probeCgroups, removeCgroup } from "./cgroups.ts";
import { protocolVersions } from "./protocol.ts";
import { longestSocketPath } from "./pty-command.ts";
import { chooseRecorder, installRecorders, sweepRecorders } from "./recorders.ts";
import { RunnerServer } from "./server.ts";
import { Stopper } from "./stop.ts";

const containments = ["auto", "cgroup", "subreaper", "group"] as const;

async function main(): Promise<void> {
  const options = readArguments();
  process.umask(0o077);
  closeInherited();
  const log = createLogger({ level: "info", fd: 2 }).child({ component: "runner", pid: process.pid });
  mkdirSync(options.state, { recursive: true, mode: 0o700 });
  const scripts = await installRecorders(options.state);
  const wantsCgroup = options.containment === "auto" || options.containment === "cgroup";
  const cgroups = wantsCgroup ? await probeCgroups(options.state) : undefined;
  const recorder = chooseRecorder(scripts, options.containment === "group" ? "sh" : "auto");
  const tier = cgroups ? "cgroup" : recorder.form === "perl" ? "subreaper" : "group";
  if (options.containment !== "auto" && options.containment !== tier) {
    throw new Fault("UNSUPPORTED", `containment '${options.containment}' is not possible here, only '${tier}'`);
  }
  const changed = (token: string): void => {
    server.changed(token);
    idle.look();
  };
  const attempts = new Attempts({
    recorder,
    cgroups,
    openFiles: options.openFiles,
    socketDirectory: dirname(options.socket),
    log,
    onChange: changed,
  });
  const stopper = new Stopper(systemClock, log, changed);
  const server = new RunnerServer({
    attempts,
    stopper,
    tier,
    log,
    onClients: () => idle.look(),
    versions: options.versions,
  });
  const end = (why: string): void => {
    log.info({ why }, "runner ends");
    server.close();
    if (cgroups) removeCgroup(cgroups.directory);
    process.exit(0);
  };
  const idle = idleEnd(
    options.idleMs,
    () => attempts.busy || stopper.busy,
    () => server.clients > 0,
    () => end("idle"),
  );
  process.on("SIGTERM", () => end("SIGTERM"));
  process.on("SIGINT", () => end("SIGINT"));
  process.on("SIGHUP", () => {});
  await failpoint("runner.before-listen");
  attempts.warm();
  await listen(server.server, options.socket);
  await failpoint("runner.after-listen");
  log.info({ tier, socket: options.socket }, "runner listens");
  await sweepRecorders(scripts);
  idle.look();
}

/**
 * Descriptors that a careless ancestor left open must not reach attempts. Node marks the first sixteen as not to be inherited (one of them
 * is our lock); the others we close.
 */
function closeInherited(): void {
  for (const name of readdirSync("/proc/self/fdinfo")) {
    if (Number(name) < 16) continue;
    try {
      const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${name}`, "utf8"))?.[1] ?? "0";
      const closesAtExec = (Number.parseInt(flags, 8) & 0o2000000) !== 0;
      if (!closesAtExec) closeSync(Number(name));
    } catch {
      // the descriptor of this listing itself
    }
  }
}

function readArguments() {
  const { values } = parseArgs({
    options: {
      socket: { type: "string" },
      state: { type: "string" },
      containment: { type: "string", default: "auto" },
      "idle-ms": { type: "string", default: "60000" },
      "open-files": { type: "string", default: "1024" },
      versions: { type: "string", default: protocolVersions.join(",") },
    },
  });
  const containment = containments.find((each) => each === values.containment);
  if (!values.socket || !values.state || !containment) {
    throw new Fault("USAGE", `usage: --socket PATH --state DIR [--containment ${containments.join("|")}]`);
  }
  if (values.socket.length > longestSocketPath) {
    throw new Fault("USAGE", `the socket's path '${values.socket}' is longer than ${longestSocketPath} characters`);
  }
  return {
    socket: values.socket,
    state: values.state,
    containment,
    idleMs: Number(values["idle-ms"]),
    openFiles: Number(values["open-files"]),
    versions: values.versions.split(",").map(Number),
  };
}

/** Whoever holds the lock (see start-runner.ts) owns the socket's name; what lies there is a dead runner's. */
function listen(server: Server, path: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  // A socket unit of systemd hands its socket over as descriptor 3.
  if (process.env["LISTEN_FDS"] === "1") server.listen({ fd: 3 }, resolve);
  else {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    rmSync(path, { force: true });
    server.listen(path, () => {
      chmodSync(path, 0o600);
      resolve();
    });
  }
  return promise;
}

/** Whoever started the runner needs time to find it, whatever the idle time is. */
const firstClientMs = 10_000;

/** Nobody is there who could want something again soon. */
const desertedMs = 2_000;

/**
 * Calls `end` when nothing was busy for `idleMs`, sooner when no agent is connected either. An agent that wants something later starts
 * another runner: an idle site keeps no runner in memory.
 */
function idleEnd(idleMs: number, busy: () => boolean, watched: () => boolean, end: () => void): { look(): void } {
  let timer: NodeJS.Timeout | undefined;
  let used = false;
  return {
    look() {
      clearTimeout(timer);
      used ||= busy() || watched();
      const waitMs = !used ? Math.max(idleMs, firstClientMs) : watched() ? idleMs : Math.min(idleMs, desertedMs);
      timer = busy() ? undefined : setTimeout(() => (busy() ? this.look() : end()), waitMs);
    },
  };
}

await main();
