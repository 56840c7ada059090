/** Runs one job of the fake server to its end, in a process of its own: walltime, TERM and KILL when deleted, output that comes after the end. */
import { spawn } from "node:child_process";
import { closeSync, openSync, renameSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { isTorque, type JobState, type Store } from "./store.ts";

const killDelayMs = 500;
const walltimeExceeded = isTorque ? -11 : -29;

export async function keep(store: Store, id: string): Promise<void> {
  const job = store.get(id);
  if (job === undefined) return;
  const spool = join(store.directory, "jobs", `${id}.OU`);
  const script = join(store.directory, "jobs", `${id}.SC`);
  writeFileSync(script, job.script, { mode: 0o700 });
  const output = openSync(spool, "w");
  const child = spawn("/bin/sh", [script], {
    cwd: store.directory,
    detached: true,
    stdio: ["ignore", output, output],
    env: { PATH: "/usr/local/bin:/usr/bin:/bin", HOME: store.directory, ...job.variables, ...variablesOf(job) },
  });
  closeSync(output);
  const running: JobState = {
    ...job,
    state: "R",
    substate: 42,
    stime: Date.now(),
    runCount: (job.runCount ?? 0) + 1,
    keeper: process.pid,
    comment: "Job run at a node",
  };
  store.put(running);
  const reason = endWhenAsked(child.pid ?? 0, job.walltimeS);
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) =>
    child.once("exit", (...end) => resolve(end)),
  );
  signalGroup(child.pid ?? 0, "SIGKILL");
  store.put({ ...running, state: "E", substate: 50 });
  if (job.output !== undefined) renameSync(spool, job.output);
  store.put(endOf(running, code, signal, reason()));
}

function variablesOf(job: JobState): Readonly<Record<string, string>> {
  const array = isTorque
    ? { PBS_ARRAYID: String(job.index) }
    : { PBS_ARRAY_INDEX: String(job.index), PBS_ARRAY_ID: job.array ?? "" };
  const index = job.index === undefined ? {} : array;
  return { PBS_JOBID: job.id, PBS_JOBNAME: job.name, PBS_ENVIRONMENT: "PBS_BATCH", ...index };
}

/** TERM, then KILL, when the walltime is over or this process gets TERM. Tells afterwards which it was. */
function endWhenAsked(pid: number, walltimeS: number | undefined): () => "deleted" | "walltime" | undefined {
  let reason: "deleted" | "walltime" | undefined;
  const end = (why: "deleted" | "walltime"): void => {
    if (reason !== undefined) return;
    reason = why;
    signalGroup(pid, "SIGTERM");
    setTimeout(() => signalGroup(pid, "SIGKILL"), killDelayMs).unref();
  };
  process.on("SIGTERM", () => end("deleted"));
  if (walltimeS !== undefined) setTimeout(() => end("walltime"), walltimeS * 1000).unref();
  return () => reason;
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // nothing of it is left
  }
}

function endOf(
  job: JobState,
  code: number | null,
  signal: NodeJS.Signals | null,
  reason: "deleted" | "walltime" | undefined,
): JobState {
  const status = signal === null ? (code ?? 0) : 256 + constants.signals[signal];
  const words = { deleted: " and terminated by tester@fakepbs", walltime: " and exceeded resource walltime" } as const;
  const verdict = status === 0 ? " and finished" : " and failed";
  return {
    ...job,
    state: isTorque ? "C" : job.array === undefined ? "F" : "X",
    substate: reason === "deleted" ? 91 : status === 0 ? 92 : 93,
    obittime: Date.now(),
    exitStatus: reason === "walltime" ? walltimeExceeded : status,
    comment: `${job.comment}${reason === undefined ? verdict : words[reason]}`,
  };
}
