import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import PQueue from "p-queue";
import { errnoOf, messageOf } from "../common/fault.ts";
import { failpoint } from "../common/failpoint.ts";
import type { Logger } from "../common/logger.ts";
import { type CgroupBase, makeCgroup, removeCgroup } from "./cgroups.ts";
import { type OomCounter, ownOomCounter, SharedOomCounter } from "./oom.ts";
import { identityOf, nodeIdentity, type ProcessIdentity } from "./identity.ts";
import { writePlan } from "./plan-files.ts";
import { lineReader, type StartAnswer, type StartRequest } from "./protocol.ts";
import { ptyCommand } from "./pty-command.ts";
import type { Recorder } from "./recorders.ts";
import { Spawner } from "./spawner.ts";

export interface AttemptsOptions {
  readonly recorder: Recorder;
  readonly cgroups: CgroupBase | undefined;
  /** Soft limit of open files of attempts. */
  readonly openFiles: number;
  /** Directory for sockets of terminals whose attempt directory has too long a path. */
  readonly socketDirectory: string;
  readonly log: Logger;
  readonly onChange: (token: string) => void;
}

/** Errors of spawn that say "too much at the moment". */
const momentary = new Set(["EAGAIN", "EMFILE", "ENFILE", "ENOMEM"]);
/** A recorder that has said nothing by then: its evidence must be asked. */
const startTimeoutMs = 30_000;
const environment = { PATH: "/usr/local/bin:/usr/bin:/bin", LC_ALL: "C" };

/** Starts recorders, each in its own session, and tells when one has something new. Holds only what lives. */
export class Attempts {
  readonly #options: AttemptsOptions;
  readonly #queue = new PQueue({ concurrency: 32 });
  readonly #starting = new Map<string, Promise<StartAnswer>>();
  readonly #live = new Map<string, string>();
  readonly #spawner: Spawner | undefined;
  readonly #shared = new SharedOomCounter();

  constructor(options: AttemptsOptions) {
    this.#options = options;
    const { serve } = options.recorder;
    this.#spawner = serve && new Spawner(serve, environment, options.log);
  }

  /** Makes ready what the first start needs. */
  warm(): void {
    this.#spawner?.warm();
  }

  /** Tokens of the recorders that we start, or started and that live. */
  get live(): readonly string[] {
    return [...new Set([...this.#live.keys(), ...this.#starting.keys()])];
  }

  get busy(): boolean {
    return this.#live.size > 0 || this.#starting.size > 0;
  }

  /** Starts an attempt, or joins the start that is under way; a token that was started before is not started again. */
  async start(request: StartRequest): Promise<StartAnswer> {
    const { token, directory } = request;
    const underWay = this.#starting.get(token);
    if (underWay) return underWay;
    if (this.#live.has(token)) return { state: "existing" };
    if (["started", "recorder", "job", "rc"].some((name) => existsSync(join(directory, name)))) {
      return { state: "existing" };
    }
    const start = this.#queue.add(() => this.#start(request));
    this.#starting.set(token, start);
    try {
      return await start;
    } finally {
      this.#starting.delete(token);
    }
  }

  async #start(request: StartRequest): Promise<StartAnswer> {
    await failpoint("runner.before-plan");
    const { recorder, cgroups } = this.#options;
    let cgroup: string | undefined;
    try {
      cgroup = cgroups && makeCgroup(cgroups, request.token);
      if (cgroup) writeFileSync(join(request.directory, "cgroup"), `${cgroup}\n`, { mode: 0o600 });
      await failpoint("runner.after-directory");
      const command = request.runtime === "pty" ? ptyCommand(request, this.#options) : request;
      writePlan(
        {
          ...request,
          ...command,
          limitMs: request.limitMs,
          cgroup,
          openFiles: this.#options.openFiles,
          oom: this.#oomCounter(cgroup),
        },
        recorder.form,
      );
    } catch (error) {
      if (cgroup) removeCgroup(cgroup);
      return { state: "failed", message: messageOf(error) };
    }
    await failpoint("runner.before-spawn");
    const answer = await this.#spawn(request);
    await failpoint("runner.after-spawn");
    if (answer.state === "busy") rmSync(join(request.directory, recorder.form === "perl" ? "plan" : "plan.sh"));
    return answer;
  }

  #oomCounter(cgroup: string | undefined): OomCounter | undefined {
    return (cgroup === undefined ? undefined : ownOomCounter(cgroup)) ?? this.#shared.now();
  }

  #spawn(request: StartRequest): Promise<StartAnswer> {
    return this.#spawner ? this.#fork(this.#spawner, request) : this.#spawnAlone(request);
  }

  async #fork(spawner: Spawner, { token, directory }: StartRequest): Promise<StartAnswer> {
    const { promise, resolve } = Promise.withResolvers<StartAnswer>();
    const timer = setTimeout(() => resolve({ state: "unknown", message: "the recorder says nothing" }), startTimeoutMs);
    this.#live.set(token, directory);
    const over = (): void => {
      this.#live.delete(token);
      resolve({ state: "unknown", message: "the recorder ended without a word" });
      this.#options.onChange(token);
    };
    try {
      spawner.start(token, directory, {
        line: (line) => {
          if (line.startsWith("busy ")) this.#live.delete(token);
          resolve(answerOf(line, undefined));
          if (line === "ended") this.#options.onChange(token);
        },
        over,
        refused: (error) => {
          this.#live.delete(token);
          resolve(spawnRefused(error));
        },
      });
    } catch (error) {
      this.#live.delete(token);
      resolve(spawnRefused(error));
    }
    const answer = await promise;
    clearTimeout(timer);
    return answer;
  }

  async #spawnAlone({ token, directory }: StartRequest): Promise<StartAnswer> {
    const [program, ...args] = this.#options.recorder.command;
    let child: ChildProcess;
    try {
      child = spawn(program, [...args, directory], {
        detached: true,
        stdio: ["ignore", "pipe", "ignore"],
        env: environment,
        cwd: "/",
      });
    } catch (error) {
      return spawnRefused(error);
    }
    const { promise, resolve } = Promise.withResolvers<StartAnswer>();
    this.#live.set(token, directory);
    const timer = setTimeout(() => resolve({ state: "unknown", message: "the recorder says nothing" }), startTimeoutMs);
    const recorder = child.pid === undefined ? undefined : identityOf(child.pid);
    const onLine = lineReader((line) => {
      resolve(answerOf(line, recorder));
      if (line === "ended") this.#options.onChange(token);
    });
    child.stdout?.setEncoding("utf8").on("data", onLine);
    child.stdout?.on("error", () => {});
    child.once("error", (error) => {
      this.#live.delete(token);
      resolve(spawnRefused(error));
    });
    child.once("exit", (code, signal) => {
      this.#live.delete(token);
      this.#options.log.debug({ attempt: token, code, signal }, "recorder ended");
      this.#options.onChange(token);
    });
    // What it said before its end comes before "close".
    child.once("close", () => resolve({ state: "unknown", message: "the recorder ended without a word" }));
    const answer = await promise;
    clearTimeout(timer);
    return answer;
  }
}

function answerOf(line: string, recorder: ProcessIdentity | undefined): StartAnswer {
  const [word, ...rest] = line.split(" ");
  switch (word) {
    case "started": {
      const [job, itself] = [told(rest[0], rest[1]), told(rest[2], rest[3]) ?? recorder];
      return { state: "started", ...(itself ? { recorder: itself } : {}), ...(job ? { job } : {}) };
    }
    case "busy":
      return { state: "busy", message: rest.join(" ") };
    case "guard":
      return { state: "existing" };
    case "refused":
      return { state: "refused", exitCode: Number(rest[0]), message: rest.slice(1).join(" ") };
    case "error":
      return { state: "failed", message: rest.join(" ") };
    default:
      return { state: "unknown", message: `the recorder said '${line}'` };
  }
}

/** A process as its recorder names it: by pid and, where it can tell them, start ticks. It may have ended meanwhile. */
function told(pid: string | undefined, ticks: string | undefined): ProcessIdentity | undefined {
  if (pid === undefined) return undefined;
  if (ticks === undefined) return identityOf(Number(pid));
  return { pid: Number(pid), startTicks: Number(ticks), ...nodeIdentity(), atMs: Date.now() };
}

function spawnRefused(error: unknown): StartAnswer {
  const message = messageOf(error);
  return { state: momentary.has(errnoOf(error) ?? "") ? "busy" : "failed", message };
}
