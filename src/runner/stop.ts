import { constants, readFileSync } from "node:fs";
import { symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../common/clock.ts";
import { errnoOf } from "../common/fault.ts";
import { failpoint } from "../common/failpoint.ts";
import type { Logger } from "../common/logger.ts";
import { type AttemptName, identitiesOf, remainingOf } from "./attempt-status.ts";
import { killCgroup, removeCgroup } from "./cgroups.ts";
import { type Evidence, readEvidence, startGraceMs } from "./evidence.ts";
import { type ProcessIdentity, verdictOf } from "./identity.ts";
import { readStat } from "./processes.ts";
import { ProcessTree, type Send, sendSignal } from "./process-tree.ts";
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
  readonly #send: Send;
  readonly #tasks = new Map<string, Promise<void>>();
  /** What could not be killed by the last task. */
  readonly #left = new Map<string, readonly number[]>();

  /** `send` is the kernel's kill; something else only in tests of what cannot be killed. */
  constructor(clock: Clock, log: Logger, onChange: (token: string) => void, send: Send = sendSignal) {
    this.#clock = clock;
    this.#log = log;
    this.#onChange = onChange;
    this.#send = send;
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
    const left = this.#left.get(name.token);
    if (left || !witnessAlive(known.recorder)) {
      const { pids, tier } = remainingOf(name, evidence);
      // Its recorder, too, waits for what was killed and does not end.
      if (left?.some((pid) => pids.includes(pid))) return remaining(pids);
      if (pids.length === 0 && !left) return { state: "gone", tier: provenTier(evidence, tier) };
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
    if (recorder) this.#signal(recorder, "SIGCONT"); // a witness that the attempt has stopped could record nothing
    if (recorder && perl && this.#signal(recorder, "SIGUSR1")) {
      const deadline = this.#clock.monotonic() + order.graceMs + recorderSlackMs;
      while (this.#clock.monotonic() < deadline && verdictOf(recorder) === "same") await this.#clock.sleep(50);
    }
    await failpoint("runner.before-kill");
    await this.#killTree(name, evidence, perl && recorder && witnessAlive(recorder) ? 0 : order.graceMs);
    await failpoint("runner.after-kill");
    if (evidence.cgroup) removeCgroup(evidence.cgroup);
  }

  /** To a process whose identity is confirmed right before; false when it is not there. */
  #signal(identity: ProcessIdentity, name: NodeJS.Signals): boolean {
    return verdictOf(identity) === "same" && this.#send(identity.pid, name);
  }

  async #killTree(name: AttemptName, evidence: Evidence, graceMs: number): Promise<void> {
    const tree = new ProcessTree(name, evidence, this.#send);
    tree.signal("SIGTERM", "SIGCONT");
    const grace = this.#clock.monotonic() + graceMs;
    while (this.#clock.monotonic() < grace && tree.look().length > 0) await this.#clock.sleep(100);
    const deadline = this.#clock.monotonic() + unkillableAfterMs;
    let empty = 0;
    while (empty < 2) {
      if (evidence.cgroup) killCgroup(evidence.cgroup);
      tree.freeze();
      const left = tree.kill();
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

/** Nothing has run: makes sure by taking the start guard ourselves. */
async function neverStarted(
  name: AttemptName,
  evidence: Evidence,
  order: StopOrder,
  nowMs: number,
): Promise<StopAnswer> {
  const { pids } = remainingOf(name, evidence);
  if (pids.length > 0) return remaining(pids);
  if (evidence.directory === "missing") return { state: "gone", tier: "group" };
  try {
    await failpoint("runner.before-guard");
    // A link, where a recorder makes a directory: whoever looks later knows that nothing began, also when we die now.
    await symlink(".", join(name.directory, "started"));
    await failpoint("runner.after-guard");
    await mark(name.directory, order);
    return { state: "gone", tier: "never-started" };
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw error;
    const interrupted = nowMs - (evidence.guardAtMs ?? nowMs) >= startGraceMs;
    if (evidence.stop || evidence.barred || interrupted) return { state: "gone", tier: "never-started" };
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

/** With what a person needs to find the cause: what they wait for. */
function remaining(pids: readonly number[]): StopAnswer {
  const why = pids.slice(0, 10).flatMap((pid) => {
    const state = readStat(pid)?.state;
    return state === undefined ? [] : [`${pid} (state ${state}${waitChannel(pid)})`];
  });
  return { state: "remaining", pids: [...pids], ...(why.length > 0 ? { why: why.join(", ") } : {}) };
}

function waitChannel(pid: number): string {
  try {
    const channel = readFileSync(`/proc/${pid}/wchan`, "latin1");
    return channel === "0" || channel === "" ? "" : `, waits in ${channel}`;
  } catch {
    return "";
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
