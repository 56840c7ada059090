/**
 * The one oracle: after whatever happened to an installation, its books are balanced or it is said what is not. Kill tests,
 * `TestSite.imbalances` and `npm run prove` all ask it.
 */
import { readFileSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { JobState } from "../../src/jobs/states.ts";
import { isReachable } from "../../src/hub/v1/reports.ts";
import { isAllowed } from "../../src/jobs/transitions.ts";
import { listProcesses, type ProcessEntry } from "./processes.ts";
import type { Resident, Rest } from "./rest.ts";
import { waitFor } from "./wait.ts";

/** What the oracle needs to know of an installation. */
export interface Books {
  readonly root: string;
  /** Agent and hub: processes that may live. */
  readonly living: readonly Resident[];
  /** One line for each start and each exit of an attempt; see `traced`. */
  readonly traceFile: string;
  job(id: string): Promise<BookedJob>;
  /** The hub's events of a job, oldest first; undefined where the hub has none (a plain one). */
  events(id: string): Promise<readonly BookedEvent[] | undefined>;
  /** Directories of the jobs that the agent knows; undefined when no agent runs. */
  knownDirectories(): Promise<readonly string[] | undefined>;
  /** The measure of what agent, hub and runner hold when nothing is under way. */
  readonly rest: Rest;
}

/** Connections that are kept for a next call, and children that are waited for every second, are gone by then. */
const restMs = 20_000;

export interface BookedJob {
  readonly state: string;
  readonly status: string;
  readonly attempt: number;
  readonly ended_at: string | null;
  readonly end?: { readonly cause: string; readonly exit_code?: number | null | undefined } | null;
}

export interface BookedEvent {
  readonly type: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** What attempts wrote of themselves. */
interface Trace {
  readonly token: string;
  readonly attempt: number;
  /** Undefined: the start. */
  readonly exitCode: number | undefined;
  readonly job: string;
}

/**
 * What is wrong; empty = balanced: every accepted job has ended, no attempt was started twice, no success without the exit that the
 * job itself wrote down, reports in order along the table and each applied once; no process, no stray file and no descriptor is left.
 */
export async function imbalances(books: Books, ids: readonly string[]): Promise<readonly string[]> {
  const traces = await readTraces(books.traceFile);
  const wrong = [...doubleStarts(traces)];
  const byJob = Map.groupBy(traces, (trace) => trace.job);
  for (const id of ids) {
    const job = await books.job(id);
    if (job.ended_at === null) wrong.push(`job ${id} has not ended: ${job.state}`);
    wrong.push(...falseSuccess(id, job, byJob.get(id) ?? []));
    const events = await books.events(id);
    if (events) wrong.push(...wrongReports(id, events));
  }
  wrong.push(...(await strayFiles(books)));
  for (const entry of await livingProcesses(books))
    wrong.push(`process ${entry.pid} (${entry.command.slice(0, 200)}) of a job is alive`);
  // While something is not over, nobody is at rest.
  return wrong.length > 0 ? wrong : await unrest(books);
}

/** Processes of jobs. A recorder is the last to go: it ends by itself when it has seen that nobody else is there. */
async function livingProcesses(books: Books): Promise<readonly ProcessEntry[]> {
  let left: readonly ProcessEntry[] = [];
  const isOver = async (): Promise<boolean> => {
    left = await leftProcesses(books);
    return left.length === 0 || !left.every(isRecorder);
  };
  await waitFor(isOver, { what: "the end of recorders", timeoutMs: restMs }).catch(() => undefined);
  return left;
}

function isRecorder({ command }: ProcessEntry): boolean {
  return /\/recorder\.(pl|sh) /.test(command);
}

/** What agent, hub and runner still hold though nothing is under way any more. */
async function unrest({ root, living, rest }: Books): Promise<readonly string[]> {
  let wrong: readonly string[] = [];
  const isQuiet = (): boolean => {
    const runners = installationProcesses(root).filter(isRunner);
    wrong = rest.problems([...living, ...runners.map(({ pid }): Resident => ({ kind: "runner", pid }))]);
    return wrong.length === 0;
  };
  await waitFor(isQuiet, { what: "rest", timeoutMs: restMs, intervalMs: 200 }).catch(() => undefined);
  return wrong;
}

function* doubleStarts(traces: readonly Trace[]): Iterable<string> {
  const starts = Map.groupBy(
    traces.filter((trace) => trace.exitCode === undefined),
    (trace) => trace.token,
  );
  for (const [token, lines] of starts)
    if (lines.length > 1) yield `attempt ${token} of job ${lines[0]?.job} was started ${lines.length} times`;
}

/** A job that left a trace of its start must have left one of the exit that it is said to have ended with. */
function* falseSuccess(id: string, job: BookedJob, traces: readonly Trace[]): Iterable<string> {
  if (job.status !== "FINISHED" || traces.length === 0 || job.end?.cause !== "exit") return;
  const exits = traces.filter((trace) => trace.attempt === job.attempt && trace.exitCode !== undefined);
  if (!exits.some((trace) => trace.exitCode === job.end?.exit_code)) {
    const seen = exits.map((trace) => trace.exitCode).join(", ");
    yield `job ${id} is FINISHED with exit code ${job.end.exit_code}, its attempt ${job.attempt} wrote '${seen}'`;
  }
}

/** States strictly along the table; numbers of reports rise within a claim, and none was applied twice. */
function* wrongReports(id: string, events: readonly BookedEvent[]): Iterable<string> {
  const changes = events.filter((event) => event.type === "job.state");
  let state = textOf(events.find((event) => event.type === "job.created")?.data["state"] ?? "CREATED");
  let [epoch, seq] = [0, 0];
  const applied = new Set<string>();
  for (const { type, data } of events) {
    const [ofEpoch, number] = [data["epoch"], data["seq"]];
    if (typeof ofEpoch !== "number" || typeof number !== "number") continue;
    if (ofEpoch < epoch) yield `job ${id}: a report of claim ${ofEpoch} was applied after claim ${epoch}`;
    if (ofEpoch === epoch && number < seq) yield `job ${id}: report ${number} was applied after ${seq}`;
    // The first report of a claim binds it and changes nothing that is seen.
    if (number > (ofEpoch === epoch ? seq + 1 : 2)) yield `job ${id}: no report between ${seq} and ${number}`;
    const key = `${type} ${ofEpoch} ${number}`;
    if (applied.has(key)) yield `job ${id}: report ${number} was applied twice`;
    applied.add(key);
    [epoch, seq] = [ofEpoch, number];
  }
  for (const { data } of changes) {
    const next = textOf(data["state"]);
    const [from, to] = [state as JobState, next as JobState];
    // A claim of the NMDC dialect may leave out steps: its PATCH tells where it is.
    const may = data["seq"] === undefined ? isReachable(from, to) : from === to || isAllowed(from, to);
    if (!may) yield `job ${id} went from ${state} to ${next}`;
    state = next;
  }
  const finals = changes.filter(({ data }) => ["JOB_FINISHED", "FAILED", "CANCELLED"].includes(textOf(data["state"])));
  if (finals.length !== 1)
    yield `job ${id} has ${finals.length} ends: ${changes.map(({ data }) => textOf(data["state"])).join(" ")}`;
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** The launcher `batch` keeps the recorder for its jobs there. */
const ownDirectory = ".siteagent";

/** Partial and temporary files, secrets of jobs that ended, directories of jobs that nobody knows. */
async function strayFiles(books: Books): Promise<readonly string[]> {
  const wrong: string[] = [];
  const work = join(books.root, "work");
  const known = await books.knownDirectories();
  for (const name of await readdir(work).catch(() => []))
    if (known && name !== ownDirectory && !known.includes(join(work, name)))
      wrong.push(`directory ${name} of a job that the agent does not know`);
  const entries = await readdir(books.root, { recursive: true, withFileTypes: true });
  for (const entry of entries.filter((one) => one.isFile())) {
    const path = join(entry.parentPath, entry.name);
    // What a killed process was just writing inside of a job's directory goes with that directory.
    const isTemporary = /\.tmp$/.test(entry.name) && !path.startsWith(`${work}/`);
    if (/^\.part-/.test(entry.name) || isTemporary) wrong.push(`left file ${path}`);
    if (/\/work\/[a-z0-9]+\/secrets\//.test(path)) wrong.push(`secret ${path} of a job that ended`);
  }
  return wrong;
}

/** Processes of jobs, also those that left their directory, their session and their environment behind; hooks too. */
export async function leftProcesses(books: Pick<Books, "root" | "living">): Promise<readonly ProcessEntry[]> {
  const all = installationProcesses(books.root);
  const living = new Set(books.living.map(({ pid }) => pid));
  const runners = all.filter(isRunner).map((entry) => entry.pid);
  // The recorder that forks the others is the runner's own, as long as the runner lives.
  const isServing = (entry: ProcessEntry): boolean =>
    / --serve\b/.test(entry.command) && runners.includes(entry.parent);
  return all.filter((entry) => !living.has(entry.pid) && !runners.includes(entry.pid) && !isServing(entry));
}

export function isRunner(entry: ProcessEntry): boolean {
  return /runner[/\\]main\.[tj]s|main\.[tj]s runner /.test(entry.command);
}

/** All that works in the installation's directory, names it on its command line or has it in its environment. */
export function installationProcesses(root: string): readonly ProcessEntry[] {
  return listProcesses().filter(
    (entry) =>
      entry.pid !== process.pid &&
      (entry.cwd?.startsWith(root) === true || entry.command.includes(root) || environmentOf(entry.pid).includes(root)),
  );
}

function environmentOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, "latin1");
  } catch {
    return "";
  }
}

async function readTraces(path: string): Promise<readonly Trace[]> {
  const text = await readFile(path, "utf8").catch(() => "");
  return text.split("\n").flatMap((line) => {
    const [token, attempt, what, job] = line.split(" ");
    if (token === undefined || what === undefined || job === undefined) return [];
    return [{ token, attempt: Number(attempt), exitCode: what === "start" ? undefined : Number(what), job }];
  });
}
