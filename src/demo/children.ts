import { type ChildProcess, spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { createInterface } from "node:readline";
import { join } from "node:path";
import { readFile } from "node:fs/promises";
import { Fault } from "../common/fault.ts";
import { type HubAccess, packageRoot, type Scene } from "./scene.ts";

const startMs = 60_000;

/** Hub and agent as processes of their own, started through the same command line that people use. */
export interface Child {
  readonly pid: number | undefined;
  /** Ends it with TERM and waits. */
  stop(): Promise<void>;
  /** Resolves when it has ended. */
  readonly ended: Promise<number | undefined>;
}

export async function startHub(scene: Scene): Promise<{ child: Child; access: HubAccess }> {
  const process_ = start(["hub", "--dev", "--port", "0", "--data", scene.hubData, "-o", "json"], scene.hubLog, "pipe");
  const lines = createInterface({ input: process_.stdout ?? fail("hub", scene.hubLog) });
  const child = wrap(process_);
  const first = await Promise.race([
    new Promise<string>((resolve) => {
      lines.once("line", resolve);
    }),
    child.ended.then(() => undefined),
    timeout(),
  ]);
  lines.resume();
  if (first === undefined) throw new Fault("DEFECT", `the hub did not start: ${await tail(scene.hubLog)}`);
  return { child, access: JSON.parse(first) as HubAccess };
}

/** `detached`: it lives on when this process ends (`--keep`). */
export function startAgent(scene: Scene): Child {
  return wrap(start(["run", "--config", scene.siteFile], scene.agentLog, "log"));
}

function start(args: readonly string[], log: string, out: "pipe" | "log"): ChildProcess {
  const main = join(packageRoot, import.meta.url.endsWith(".ts") ? "src/main.ts" : "dist/main.js");
  const file = createWriteStream(log, { flags: "a", mode: 0o600 });
  const child = spawn(process.execPath, [main, ...args], { stdio: ["ignore", "pipe", "pipe"], detached: true });
  if (out === "log") child.stdout.pipe(file, { end: false });
  child.stderr.pipe(file, { end: false });
  child.once("exit", () => file.end());
  return child;
}

function wrap(child: ChildProcess): Child {
  const ended = new Promise<number | undefined>((resolve) => {
    child.once("exit", (code) => resolve(code ?? undefined));
    child.once("error", () => resolve(undefined));
  });
  return {
    pid: child.pid,
    ended,
    async stop() {
      child.kill("SIGTERM");
      await ended;
    },
  };
}

function fail(name: string, log: string): never {
  throw new Fault("DEFECT", `the ${name} has no output; look at '${log}'`);
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
