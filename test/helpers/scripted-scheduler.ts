/** A scheduler in this process that really runs its jobs, for faults that a real one cannot be made to show. It passes the suite of all schedulers. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Fault } from "../../src/common/fault.ts";
import type { Token } from "../../src/common/token.ts";
import { oneLine, renderScript } from "../../src/schedulers/script.ts";
import type {
  FindResult,
  OrderResult,
  ScheduledJob,
  ScheduledStatus,
  Scheduler,
  SubmitRequest,
  SubmitResult,
  Verdict,
} from "../../src/schedulers/types.ts";
import { listProcesses } from "./processes.ts";

interface Task {
  readonly child: ChildProcess | undefined;
  readonly since: string | undefined;
  verdict: Verdict | undefined;
}

interface Submitted {
  readonly job: ScheduledJob;
  readonly request: SubmitRequest;
  readonly tasks: Task[];
  held: boolean;
  /** It asked to wait for ever. */
  readonly waits: boolean;
}

/** What it is to do wrong from now on. */
export interface Faults {
  /** Queries and orders find nobody. */
  down: boolean;
  /** What the next submissions answer, in order; afterwards all is well. `lost`: unclear and not accepted. `unseen`: accepted, and unclear. */
  submit: ("lost" | "unseen" | { readonly limited: string } | { readonly rejected: string })[];
  /** Jobs stay in the queue. */
  full: boolean;
  /** It has forgotten these (purged, or its database was reset). */
  readonly forgotten: Set<string>;
  /** It says this of a job, whatever is so. */
  readonly says: Map<string, ScheduledStatus>;
}

export class ScriptedScheduler implements Scheduler {
  readonly kind = "scripted";
  readonly capabilities = { arrays: true, mostTasks: 100, history: "accounting" } as const;
  readonly faults: Faults = { down: false, submit: [], full: false, forgotten: new Set(), says: new Map() };
  readonly requests: SubmitRequest[] = [];
  readonly cancelled: ScheduledJob[] = [];
  queries = 0;
  readonly #directory: string;
  readonly #jobs = new Map<string, Submitted>();
  #nextId = 100;

  /** `directory`: where it keeps scripts. */
  constructor(directory: string) {
    this.#directory = directory;
  }

  probe(): ReturnType<Scheduler["probe"]> {
    return Promise.resolve(
      this.faults.down ? { ok: false, reason: "nobody answers" } : { ok: true, version: "scripted 1" },
    );
  }

  render(request: SubmitRequest): string {
    const variables = { task: "${TEST_TASK:-0}", nativeId: "$TEST_ID", restarts: "0" };
    const { account = "", queue = "" } = request.placement;
    const directives = [`#TEST ${request.token} ${oneLine("the account", account)} ${oneLine("the queue", queue)}`];
    return renderScript({ directives, variables, body: request.body });
  }

  async submit(requests: readonly SubmitRequest[]): Promise<readonly SubmitResult[]> {
    return requests.map((request) => this.#submit(request));
  }

  async find(wanted: readonly { readonly token: Token; readonly since: string }[]): Promise<readonly FindResult[]> {
    return wanted.map(({ token, since }): FindResult => {
      if (this.faults.down) return { state: "unknown", why: "nobody answers" };
      const [first, ...others] = [...this.#jobs.values()]
        .filter(({ job }) => job.token === token && job.submittedAt >= since && !this.faults.forgotten.has(job.id))
        .map(({ job }) => job);
      return first === undefined ? { state: "absent" } : { state: "found", jobs: [first, ...others] };
    });
  }

  async statuses(jobs: readonly ScheduledJob[]): Promise<readonly ScheduledStatus[]> {
    this.queries++;
    return jobs.map((job) => this.#status(job));
  }

  async cancel(jobs: readonly ScheduledJob[]): Promise<readonly OrderResult[]> {
    this.cancelled.push(...jobs);
    return jobs.map((job) => this.#order(job, (known) => this.end(known.job.id, job.task)));
  }

  async hold(jobs: readonly ScheduledJob[]): Promise<readonly OrderResult[]> {
    return jobs.map((job) => this.#order(job, (known) => (known.held = true)));
  }

  async release(jobs: readonly ScheduledJob[]): Promise<readonly OrderResult[]> {
    return jobs.map((job) =>
      this.#order(job, (known) => {
        known.held = false;
        this.#startWhatMay();
      }),
    );
  }

  /** Lets waiting jobs start. */
  open(): void {
    this.faults.full = false;
    this.#startWhatMay();
  }

  /** Ends a job (or one task of it) as `verdict`, with all of its processes: TERM, and KILL after a moment. */
  end(id: string, task?: number, verdict: Partial<Verdict> = { kind: "cancelled", raw: "CANCELLED by 0" }): void {
    const known = this.#jobs.get(id);
    for (const [index, one] of known?.tasks.entries() ?? []) {
      if (one.verdict || (task !== undefined && task !== index)) continue;
      one.verdict = { kind: "cancelled", raw: "CANCELLED", source: "queue", ...verdict };
      if (one.child) this.#endAll(id, index);
    }
  }

  /** Starts it once more, as a site does after it lost a node. */
  startAgain(id: string, task = 0): void {
    const known = this.#jobs.get(id);
    if (known) known.tasks[task] = this.#start(known, task);
  }

  /** Waits for all processes of all jobs. */
  async [Symbol.asyncDispose](): Promise<void> {
    const children = [...this.#jobs.values()].flatMap(({ tasks }) => tasks.flatMap(({ child }) => child ?? []));
    for (const id of this.#jobs.keys()) this.end(id);
    await Promise.all(children.map((child) => ended(child)));
  }

  #submit(request: SubmitRequest): SubmitResult {
    this.requests.push(request);
    const fault = this.faults.submit.shift();
    if (this.faults.down || fault === "lost") return { state: "unclear", why: "Socket timed out" };
    if (typeof fault === "object") {
      return "limited" in fault
        ? { state: "limited", reason: fault.limited }
        : { state: "rejected", reason: fault.rejected };
    }
    try {
      this.render(request);
    } catch (error) {
      return { state: "rejected", reason: error instanceof Fault ? error.message : String(error) };
    }
    if (request.placement.queue === "wrong") return { state: "rejected", reason: "invalid queue: wrong" };
    const job = { id: String(this.#nextId++), token: request.token, submittedAt: new Date().toISOString() };
    const waiting = (): Task => ({ child: undefined, since: undefined, verdict: undefined });
    const waits = request.placement.native.includes("--wait");
    const tasks = Array.from({ length: request.tasks }, waiting);
    this.#jobs.set(job.id, { job, request, tasks, held: false, waits });
    this.#startWhatMay();
    return fault === "unseen" ? { state: "unclear", why: "Socket timed out" } : { state: "submitted", job };
  }

  #startWhatMay(): void {
    if (this.faults.full) return;
    for (const known of this.#jobs.values()) {
      if (known.held || known.waits) continue;
      for (const [index, task] of known.tasks.entries())
        if (!task.child && !task.verdict) known.tasks[index] = this.#start(known, index);
    }
  }

  #start({ job, request }: Submitted, index: number): Task {
    const path = join(this.#directory, `${job.id}-${index}.sh`);
    writeFileSync(path, this.render(request));
    const log = openSync(request.log, "a");
    const env = {
      PATH: "/usr/bin:/bin",
      TEST_ID: job.id,
      TEST_TASK: String(index),
      TEST_JOB: this.#mark(job.id, index),
    };
    const child = spawn("/bin/sh", [path], {
      cwd: request.directory,
      env,
      detached: true,
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    const task: Task = { child, since: new Date().toISOString(), verdict: undefined };
    child.once("exit", (code, signal) => {
      // As a scheduler does, whatever is left of the job is ended with its script.
      void this.#killAll(job.id, index);
      task.verdict ??= {
        kind: code === 0 ? "completed" : "failed",
        ...(code === null ? {} : { exitCode: code }),
        ...(signal === null ? {} : { signal }),
        raw: code === 0 ? "COMPLETED 0:0" : `FAILED ${code ?? 0}:${signal ?? 0}`,
        source: "accounting",
        endedAt: new Date().toISOString(),
      };
    });
    return task;
  }

  /** In the environment of all processes of a task: by it they are found, as a scheduler finds them by their control group. */
  #mark(id: string, task: number): string {
    return `${this.#directory}/${id}/${task}`;
  }

  #processes(id: string, task: number): readonly number[] {
    const mark = `TEST_JOB=${this.#mark(id, task)}`;
    return listProcesses().flatMap(({ pid }) => (environmentOf(pid).includes(mark) ? [pid] : []));
  }

  #endAll(id: string, task: number): void {
    signalAll(this.#processes(id, task), "SIGTERM");
    setTimeout(() => void this.#killAll(id, task), graceMs).unref();
  }

  async #killAll(id: string, task: number): Promise<void> {
    for (let left = this.#processes(id, task); left.length > 0; left = this.#processes(id, task)) {
      signalAll(left, "SIGKILL");
      await new Promise(setImmediate);
    }
  }

  #status(job: ScheduledJob): ScheduledStatus {
    if (this.faults.down) return { state: "unknown", why: "nobody answers" };
    const told = this.faults.says.get(job.id);
    if (told) return told;
    const known = this.#jobs.get(job.id);
    if (!known || !isSame(known.job, job) || this.faults.forgotten.has(job.id)) return { state: "absent" };
    const task = known.tasks[job.task ?? 0];
    if (!task) return { state: "absent" };
    if (task.verdict && hasEnded(task.child)) return { state: "ended", verdict: task.verdict };
    if (task.verdict) return { state: "finishing" };
    if (!task.child) return { state: "queued", reason: known.held ? "JobHeldUser" : "Resources", stuck: known.held };
    return { state: "running", since: task.since, nodes: "node1" };
  }

  #order(job: ScheduledJob, carryOut: (known: Submitted) => void): OrderResult {
    if (this.faults.down) return { state: "unknown", why: "nobody answers" };
    const known = this.#jobs.get(job.id);
    if (!known || !isSame(known.job, job) || this.faults.forgotten.has(job.id)) return { state: "over" };
    if (known.tasks.every((task) => task.verdict)) return { state: "over" };
    carryOut(known);
    return { state: "requested" };
  }
}

/** Numbers are given again: token and time belong to a job. */
function isSame(known: ScheduledJob, asked: ScheduledJob): boolean {
  return known.token === asked.token && Date.parse(asked.submittedAt) - Date.parse(known.submittedAt) < 60_000;
}

function hasEnded(child: ChildProcess | undefined): boolean {
  return child === undefined || child.exitCode !== null || child.signalCode !== null;
}

async function ended(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  child.once("exit", () => resolve());
  await promise;
}

/** Between TERM and KILL. */
const graceMs = 2_000;

function environmentOf(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
  } catch {
    return []; // it has ended, or is somebody else's
  }
}

function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {
      // it has ended
    }
  }
}
