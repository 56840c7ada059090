import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { join } from "node:path";
import { open, readFile } from "node:fs/promises";
import { Fault } from "../common/fault.ts";
import { packageRoot } from "../common/version.ts";
import type { HubAccess, Scene } from "./scene.ts";

const startMs = 60_000;

/** Hub and agent as processes of their own, started through the same command line that people use. */
export interface Child {
  readonly pid: number | undefined;
  /** Lets go of it: this process may end, it goes on. */
  release(): void;
  /** Ends it with TERM and waits. */
  stop(): Promise<void>;
  /** Resolves when it has ended. */
  readonly ended: Promise<number | undefined>;
}

export async function startHub(scene: Scene): Promise<{ child: Child; access: HubAccess }> {
  const log = await open(scene.hubLog, "a", 0o600);
  const hub = start(["hub", "--dev", "--port", "0", "--data", scene.hubData, "-o", "json"], "pipe", log.fd);
  await log.close();
  const child = wrap(hub);
  const { stdout } = hub;
  if (!stdout) throw new Fault("DEFECT", "the hub has no standard output");
  const first = await Promise.race([
    new Promise<string>((resolve) => {
      createInterface({ input: stdout }).once("line", resolve);
    }),
    child.ended.then(() => undefined),
    timeout(),
  ]);
  if (first === undefined) throw new Fault("DEFECT", `the hub did not start: ${await tail(scene.hubLog)}`);
  return { child, access: JSON.parse(first) as HubAccess };
}

export async function startAgent(scene: Scene): Promise<Child> {
  const log = await open(scene.agentLog, "a", 0o600);
  const agent = start(["run", "--config", scene.siteFile], log.fd, log.fd);
  await log.close();
  return wrap(agent);
}

/** In a session of its own and with files for its logs, so that it lives on when this process ends (`--keep`). */
function start(args: readonly string[], stdout: "pipe" | number, stderr: number): ChildProcess {
  const main = join(packageRoot, import.meta.url.endsWith(".ts") ? "src/main.ts" : "dist/main.js");
  return spawn(process.execPath, [main, ...args], { stdio: ["ignore", stdout, stderr], detached: true });
}

function wrap(child: ChildProcess): Child {
  const ended = new Promise<number | undefined>((resolve) => {
    child.once("exit", (code) => resolve(code ?? undefined));
    child.once("error", () => resolve(undefined));
  });
  return {
    pid: child.pid,
    ended,
    release() {
      child.stdout?.destroy();
      child.unref();
    },
    async stop() {
      child.kill("SIGTERM");
      await ended;
    },
  };
}

async function timeout(): Promise<undefined> {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  setTimeout(() => resolve(undefined), startMs).unref();
  return promise;
}

/** The end of a log, for an error text. */
export async function tail(path: string): Promise<string> {
  const text = await readFile(path, "utf8").catch(() => "");
  return text.trim().split("\n").slice(-5).join("\n");
}
