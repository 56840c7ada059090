import { constants } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../common/clock.ts";
import { errnoOf } from "../common/fault.ts";
import { failpoint } from "../common/failpoint.ts";
import type { Logger } from "../common/logger.ts";
import { type AttemptName, identitiesOf, remainingOf } from "./attempt-status.ts";
import { killCgroup, removeCgroup } from "./cgroups.ts";
import { type Evidence, readEvidence, startGraceMs } from "./evidence.ts";
import { type ProcessIdentity, verdictOf } from "./identity.ts";
import { type ProcessStat, readStat } from "./processes.ts";
import type { StopAnswer } from "./protocol.ts";

export interface StopOrder {
  readonly graceMs: number;
  readonly reason: string;
}

/** After KILL: what lives then cannot be killed (a process that waits for a dead file system). */
const unkillableAfterMs = 60_000;
/** Two empty looks, so far apart, are proof where the kernel gives none. */
const secondLookMs = 200;
/** What a recorder may need beyond the grace period before we do its work. */
const recorderSlackMs = 3_000;

/** Ends attempts: TERM, grace, KILL, verify. One task for each attempt; a second order joins the first. */
export class Stopper {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #onChange: (token: string) => void;
  readonly #tasks = new Map<string, Promise<void>>();
  /** What could not be killed by the last task. */
  readonly #left = new Map<string, readonly number[]>();

  constructor(clock: Clock, log: Logger, onChange: (token: string) => void) {
    this.#clock = clock;
    this.#log = log;
    this.#onChange = onChange;
  }

  get busy(): boolean {
    return this.#tasks.size > 0;
  }

  /** `gone` when nothing of the attempt is left and nothing can start any more; else begins and says `stopping`. */
  async stop(name: AttemptName, order: StopOrder): Promise<StopAnswer> {
    if (this.#tasks.has(name.token)) return { state: "stopping" };
    const evidence = await readEvidence(name.directory, name.token);
    const known = identitiesOf(name, evidence);
    if (known.recorder === undefined && evidence.recorder === undefined && evidence.rc === undefined) {
      return neverStarted(name, evidence, order, this.#clock.now());
    }
    const unseen = known.recorder !== undefined && verdictOf(known.recorder) === "uncertain";
    if (unseen) return { state: "unknown", why: "its processes cannot be seen from here" };
    if (!witnessAlive(known.recorder)) {
      const { pids, tier } = remainingOf(name, evidence);
      if (pids.length === 0 && !this.#left.has(name.token)) return { state: "gone", tier: provenTier(evidence, tier) };
      if (this.#left.get(name.token)?.some((pid) => pids.includes(pid))) return { state: "remaining", pids: [...pids] };
    }
    this.#left.delete(name.token);
    const task = this.#carryOut(name, order)
      .catch((error: unknown) => this.#log.error({ err: error, attempt: name.token }, "stop failed"))
      .finally(() => {
        this.#tasks.delete(name.token);
        this.#onChange(name.token);
      });
    this.#tasks.set(name.token, task);
    return { state: "stopping" };
  }

  async #carryOut(name: AttemptName, order: StopOrder): Promise<void> {
    const evidence = await readEvidence(name.directory, name.token);
    await failpoint("runner.before-stop");
    await mark(name.directory, order);
    await failpoint("runner.after-mark");
    const recorder = identitiesOf(name, evidence).recorder;
    const perl = typeof evidence.recorder === "object" && evidence.recorder.mode === "perl";
    if (recorder) signal(recorder, "SIGCONT"); // a witness that the attempt has stopped could record nothing
    if (recorder && perl && signal(recorder, "SIGUSR1")) {
      const deadline = this.#clock.monotonic() + order.graceMs + recorderSlackMs;
      while (this.#clock.monotonic() < deadline && verdictOf(recorder) === "same") await this.#clock.sleep(50);
    }
    await failpoint("runner.before-kill");
    await this.#killTree(name, evidence, perl && recorder && witnessAlive(recorder) ? 0 : order.graceMs);
    await failpoint("runner.after-kill");
    if (evidence.cgroup) removeCgroup(evidence.cgroup);
  }

  async #killTree(name: AttemptName, evidence: Evidence, graceMs: number): Promise<void> {
    const alive = (): readonly ProcessStat[] => remainingOf(name, evidence).processes;
    for (const found of alive()) {
      signalNow(found, "SIGTERM");
      signalNow(found, "SIGCONT");
    }
    const grace = this.#clock.monotonic() + graceMs;
    while (this.#clock.monotonic() < grace && alive().length > 0) await this.#clock.sleep(100);
    const deadline = this.#clock.monotonic() + unkillableAfterMs;
    let empty = 0;
    while (empty < 2) {
      if (evidence.cgroup) killCgroup(evidence.cgroup);
      freeze(alive);
      const left = alive();
      for (const found of left) signalNow(found, "SIGKILL");
      empty = left.length === 0 ? empty + 1 : 0;
      if (this.#clock.monotonic() > deadline) {
        const pids = left.map((found) => found.pid);
        this.#left.set(name.token, pids);
        this.#log.error({ attempt: name.token, pids }, "processes cannot be killed");
        return;
      }
      await this.#clock.sleep(empty > 0 ? secondLookMs : 50);
    }
  }
}

/** Stops what forks faster than we look, before any of it is killed. */
function freeze(alive: () => readonly ProcessStat[]): void {
  const stopped = new Set<number>();
  for (let round = 0; round < 20; round++) {
    const fresh = alive().filter((found) => !stopped.has(found.pid));
    if (fresh.length === 0) return;
    for (const found of fresh) {
      signalNow(found, "SIGSTOP");
      stopped.add(found.pid);
    }
  }
}

/** Nothing has run: makes sure by taking the start guard ourselves. */
async function neverStarted(
  name: AttemptName,
  evidence: Evidence,
  order: StopOrder,
  nowMs: number,
): Promise<StopAnswer> {
  const { pids } = remainingOf(name, evidence);
  if (pids.length > 0) return { state: "remaining", pids: [...pids] };
  if (evidence.directory === "missing") return { state: "gone", tier: "group" };
  try {
    await failpoint("runner.before-guard");
    await mkdir(join(name.directory, "started"));
    await failpoint("runner.after-guard");
    await mark(name.directory, order);
    return { state: "gone", tier: "never-started" };
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw error;
    const interrupted = nowMs - (evidence.guardAtMs ?? nowMs) >= startGraceMs;
    if (evidence.stop || interrupted) return { state: "gone", tier: "never-started" };
    return { state: "unknown", why: "it is just starting" };
  }
}

/** Where the job may have put a link or a fifo there, neither is followed or waited for. */
const markFlags =
  constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** A full disk must not keep an attempt alive: the marker counts by being there. */
async function mark(directory: string, order: StopOrder): Promise<void> {
  try {
    const text = `${Math.round(order.graceMs)}\n${order.reason}\n`;
    await writeFile(join(directory, "stop"), text, { mode: 0o600, flag: markFlags });
  } catch {
    // Without the marker its end is recorded as that of a signal; it ends all the same.
  }
}

function witnessAlive(recorder: ProcessIdentity | undefined): boolean {
  return recorder !== undefined && verdictOf(recorder) === "same";
}

function provenTier(evidence: Evidence, tier: string): "cgroup" | "subreaper" | "group" {
  if (tier === "cgroup") return "cgroup";
  const proven = evidence.gone || (typeof evidence.rc === "object" && evidence.rc.alone);
  return proven ? "subreaper" : "group";
}

/** To a process whose identity is confirmed right before; false when it is not there. */
function signal(identity: ProcessIdentity, name: NodeJS.Signals): boolean {
  if (verdictOf(identity) !== "same") return false;
  return send(identity.pid, name);
}

/** To a process that was just found to be the attempt's, if it is the same process still. */
function signalNow(found: ProcessStat, name: NodeJS.Signals): void {
  if (found.pid > 1 && readStat(found.pid)?.startTicks === found.startTicks) send(found.pid, name);
}

function send(pid: number, name: NodeJS.Signals): boolean {
  try {
    process.kill(pid, name);
    return true;
  } catch {
    return false; // it ended, or it became another user's
  }
}
