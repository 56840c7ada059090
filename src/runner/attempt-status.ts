import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { isoTime } from "../common/clock.ts";
import { errnoOf } from "../common/fault.ts";
import type { AttemptEnd } from "../jobs/states.ts";
import type { AttemptStatus, ProofTier } from "../launchers/types.ts";
import { endFromRecord, type Evidence, type ExitRecord, startGraceMs } from "./evidence.ts";
import { readEvidenceHere } from "./evidence-here.ts";
import { type ProcessIdentity, verdictOf } from "./identity.ts";
import { hasEnded, membersOf, type ProcessStat, readStat } from "./processes.ts";

/** An attempt as its evidence names it; `recorder` and `job` from its handle, for when the directory was deleted. */
export interface AttemptName {
  readonly token: string;
  readonly directory: string;
  readonly recorder?: ProcessIdentity | undefined;
  readonly job?: ProcessIdentity | undefined;
}

/** What was seen, and the attempt with the identities that its evidence told: a name for later looks. */
export interface Look {
  readonly status: AttemptStatus;
  /** Its recorder lives and will record the end. */
  readonly witnessed: boolean;
  readonly name: AttemptName;
}

/** What the directory and the process table say about an attempt, without asking anybody. Waits for the file system. */
export function lookAt(name: AttemptName, nowMs: number): Look {
  const brief = stillRunning(name);
  if (brief) return { status: brief, witnessed: true, name };
  const evidence = readEvidenceHere(name.directory, name.token);
  const { recorder, job } = identitiesOf(name, evidence);
  const status = statusFrom(name, evidence, nowMs);
  // Of what has ended nobody asks it, and each look at a process that is gone is one that fails.
  const witnessed = status.state !== "ended" && recorder !== undefined && verdictOf(recorder) === "same";
  return { status, witnessed, name: { ...name, recorder, job } };
}

/** The cheap look at an attempt whose identities are known: no exit record and a living recorder; undefined = look closer. */
function stillRunning(name: AttemptName): AttemptStatus | undefined {
  if (!name.recorder || !name.job) return undefined;
  try {
    const record = statSync(join(name.directory, "rc"), { throwIfNoEntry: false });
    return record === undefined && verdictOf(name.recorder) === "same" ? running(name.job) : undefined;
  } catch {
    return undefined;
  }
}

function statusFrom(name: AttemptName, evidence: Evidence, nowMs: number): AttemptStatus {
  if (isRecord(evidence.rc)) return endedStatus(name, evidence, evidence.rc);
  const known = identitiesOf(name, evidence);
  if (known.recorder === undefined) return unidentified(name, evidence, nowMs);
  const recorder = verdictOf(known.recorder);
  if (recorder === "uncertain") return { state: "unknown", why: "unreachable", raw: elsewhere(known.recorder) };
  if (recorder === "same") return known.job ? running(known.job) : { state: "unknown", why: "starting" };
  // Between the look at rc and the look at its writer it may have written it.
  const again = readEvidenceHere(name.directory, name.token);
  if (isRecord(again.rc)) return endedStatus(name, again, again.rc);
  if (recorder === "rebooted") {
    const end = lost("node", "the machine was restarted while the attempt ran", known.recorder);
    return { state: "ended", end, remaining: [], tier: tierOf(evidence) };
  }
  return withoutRecorder(name, again, nowMs);
}

/**
 * The processes of an attempt that live now, without its recorder, and the tier in which that is known. `sessions` were the attempt's a
 * moment ago: members stay members when what they descend from has ended.
 */
export function remainingOf(
  name: AttemptName,
  evidence: Evidence,
  sessions?: ReadonlySet<number>,
): { readonly processes: readonly ProcessStat[]; readonly pids: readonly number[]; readonly tier: ProofTier } {
  const { processes, tier } = livingOf(name, evidence, sessions);
  return { processes, pids: processes.map((stat) => stat.pid), tier };
}

function livingOf(
  name: AttemptName,
  evidence: Evidence,
  sessions: ReadonlySet<number> | undefined,
): { processes: readonly ProcessStat[]; tier: ProofTier } {
  if (evidence.cgroup !== undefined) {
    const stats = cgroupPids(evidence.cgroup).flatMap((pid) => readStat(pid) ?? []);
    return { processes: stats.filter((stat) => !hasEnded(stat)), tier: "cgroup" };
  }
  const { recorder, job } = identitiesOf(name, evidence);
  const recorderAlive = recorder !== undefined && verdictOf(recorder) === "same";
  const perl = isIdentity(evidence.recorder) && evidence.recorder.mode === "perl";
  const processes = membersOf({
    token: name.token,
    recorder: recorderAlive && perl ? recorder : undefined,
    job,
    jobAlive: job !== undefined && verdictOf(job) === "same",
    ...(sessions ? { sessions } : {}),
  });
  return { processes, tier: recorderAlive && perl ? "subreaper" : "group" };
}

/** The identities of recorder and job, from evidence, else from the handle. */
export function identitiesOf(
  name: AttemptName,
  evidence: Evidence,
): { readonly recorder: ProcessIdentity | undefined; readonly job: ProcessIdentity | undefined } {
  return {
    recorder: isIdentity(evidence.recorder) ? evidence.recorder : name.recorder,
    job: isIdentity(evidence.job) ? evidence.job : name.job,
  };
}

/** All processes in a control group; none when it is gone. */
export function cgroupPids(directory: string): readonly number[] {
  try {
    const own = readFileSync(join(directory, "cgroup.procs"), "utf8").split("\n").filter(Boolean).map(Number);
    const below = readdirSync(directory, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    return [...own, ...below.flatMap((entry) => cgroupPids(join(directory, entry.name)))];
  } catch (error) {
    if (["ENOENT", "ENODEV"].includes(errnoOf(error) ?? "")) return [];
    throw error;
  }
}

function isRecord(rc: Evidence["rc"]): rc is ExitRecord {
  return rc !== undefined && rc !== "damaged";
}

function isIdentity<Identity>(identity: Identity | "damaged" | undefined): identity is Identity {
  return identity !== undefined && identity !== "damaged";
}

function tierOf(evidence: Evidence): ProofTier {
  if (evidence.cgroup !== undefined) return "cgroup";
  return isIdentity(evidence.recorder) && evidence.recorder.mode === "perl" ? "subreaper" : "group";
}

function endedStatus(name: AttemptName, evidence: Evidence, rc: ExitRecord): AttemptStatus {
  const { recorder, job } = identitiesOf(name, evidence);
  const end = endFromRecord(rc, job?.atMs ?? recorder?.atMs, evidence);
  if (rc.kind === "launch") return { state: "ended", end, remaining: [], tier: "never-started" };
  const nothingLeft = rc.alone || evidence.gone || (recorder !== undefined && verdictOf(recorder) === "rebooted");
  if (nothingLeft) return { state: "ended", end, remaining: [], tier: tierOf(evidence) };
  const { pids, tier } = remainingOf(name, evidence);
  return { state: "ended", end, remaining: pids, tier };
}

function unidentified(name: AttemptName, evidence: Evidence, nowMs: number): AttemptStatus {
  if (evidence.recorder === "damaged") return { state: "unknown", why: "unrecognised", raw: "recorder: damaged" };
  if (evidence.directory === "present") {
    if (evidence.guardAtMs === undefined) return { state: "absent" };
    if (evidence.stop || evidence.barred) return { state: "absent" }; // the guard was taken by an order to stop
    if (nowMs - evidence.guardAtMs < startGraceMs) return { state: "unknown", why: "starting" };
  }
  const { pids, tier } = remainingOf(name, evidence);
  if (pids.length > 0) return { state: "running", since: isoTime(evidence.guardAtMs ?? nowMs) };
  if (evidence.directory === "present") return { state: "absent" };
  const end = lost("status-lost", `the attempt directory '${name.directory}' is missing`, undefined);
  return { state: "ended", end: { ...end, evidence: "missing" }, remaining: [], tier };
}

/** The recorder is dead and left no exit record. */
function withoutRecorder(name: AttemptName, evidence: Evidence, nowMs: number): AttemptStatus {
  const { recorder, job } = identitiesOf(name, evidence);
  if (job === undefined) {
    if (nowMs - (evidence.guardAtMs ?? 0) < startGraceMs) return { state: "unknown", why: "starting" };
    // The job's identity is written before its first instruction: without it nothing ran.
    if (evidence.directory === "present" && evidence.job === undefined) return { state: "absent" };
  }
  const verdict = job === undefined ? "gone" : verdictOf(job);
  if (verdict === "same" && job) return running(job);
  if (verdict === "uncertain" && job) return { state: "unknown", why: "unreachable", raw: elsewhere(job) };
  const { pids, tier } = remainingOf(name, evidence);
  const end = lost("status-lost", "the attempt is gone and its recorder was killed: no exit record", job ?? recorder);
  return { state: "ended", end, remaining: pids, tier: tier === "cgroup" ? tier : "group" };
}

function running(job: ProcessIdentity): AttemptStatus {
  const state = readStat(job.pid)?.state;
  return { state: "running", since: isoTime(job.atMs), ...(state === "T" || state === "t" ? { suspended: true } : {}) };
}

function lost(cause: AttemptEnd["cause"], message: string, began: ProcessIdentity | undefined): AttemptEnd {
  return {
    cause,
    evidence: "identity",
    message,
    ...(began ? { started_at: isoTime(began.atMs) } : {}),
    ended_at: isoTime(Date.now()),
  };
}

function elsewhere(identity: ProcessIdentity): string {
  return `pid ${identity.pid} of machine ${identity.machineId}, pid namespace ${identity.pidNamespace} cannot be seen from here`;
}
