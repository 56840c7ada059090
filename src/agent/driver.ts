import { isDiskFull, isJournalDead } from "./ledger.ts";
import { cutShort, isoTime } from "../common/clock.ts";
import type { CallContext } from "../common/context.ts";
import type { Logger } from "../common/logger.ts";
import { asFault, type Fault } from "../common/fault.ts";
import { backoffMs } from "../common/retry.ts";
import { nextStep, type Step } from "../jobs/decide.ts";
import type { Failure } from "../jobs/states.ts";
import type { AgentCore } from "./core.ts";
import { fence } from "./fence.ts";
import { type HeldJob, hasLiveAttempt } from "./held-job.ts";
import { abandonTransfers, followFenced, handBack } from "./steps/leave.ts";
import { steps } from "./steps/table.ts";
import { enterStep } from "./quarantine.ts";
import { dropSecrets } from "./secrets.ts";
import { amend, heldJob, transition } from "./transition.ts";

/** What a step gets. `signal` aborts when the step must stop early: the agent stops, or the job was cancelled, fenced or held. */
export interface JobWork {
  readonly core: AgentCore;
  readonly id: string;
  readonly signal: AbortSignal;
  readonly context: CallContext;
  job(): HeldJob;
}

/** How many failed tries a step has before the job fails; a launcher that cannot be reached is waited for. */
const stepTries: Partial<Record<Step, number>> = {
  stage_in: 8,
  stage_out: 12,
  archive: 4,
  preprocess: 3,
  postprocess: 3,
  handle_error: 3,
  handle_timeout: 3,
};
const blockedBackoff = { baseMs: 5_000, capMs: 600_000 };
/** Room comes back whenever another job ends. */
const limitedBackoff = { baseMs: 5_000, capMs: 120_000 };

/**
 * Moves one held job through its lifecycle: step after step as `nextStep` says, each repeatable, until the job is over, handed
 * back or fenced, or the agent stops. There is one driver per job and it is the only one to change it, orders excepted.
 */
export class JobDriver {
  readonly id: string;
  readonly done: Promise<void>;
  readonly #core: AgentCore;
  /** Of the steps: used up by an interruption only, for a new one for each step would cost more than most steps. */
  #current = new AbortController();
  /** Faults in a row that no step could take. */
  #defects = 0;

  constructor(core: AgentCore, id: string) {
    this.#core = core;
    this.id = id;
    this.done = this.#run();
  }

  /** Something changed that the current step does not know, or the agent stops: let it stop early and look again. */
  interrupt(): void {
    this.#current.abort(cutShort);
  }

  async #run(): Promise<void> {
    const core = this.#core;
    const log = core.log.child({ jobId: this.id });
    try {
      let work = this.#work(log);
      while (!core.stopping.aborted) {
        if (work.signal.aborted) {
          this.#current = new AbortController();
          work = this.#work(log);
        }
        if (!(await this.#guarded(work))) return;
      }
    } catch (error) {
      core.onFatal(asFault(error));
    } finally {
      core.prepared.delete(this.id);
    }
  }

  #work(log: Logger): JobWork {
    const core = this.#core;
    const { signal } = this.#current;
    return {
      core,
      id: this.id,
      signal,
      context: core.context(log, signal),
      job: () => heldJob(core.ledger, this.id),
    };
  }

  /** As #advance; a fault of one job's handling stops that job only: said, and tried again later. */
  async #guarded(work: JobWork): Promise<boolean> {
    try {
      return await this.#advance(work);
    } catch (error) {
      const fault = asFault(error);
      if (isJournalDead(fault)) throw fault;
      if (!work.core.ledger.book.jobs.has(this.id)) return false;
      if (work.signal.aborted) return true;
      this.#defects++;
      work.context.log.error({ err: fault }, "a job cannot be moved on");
      work.core.problems.set(`job:${this.id}`, `job '${this.id}' cannot be moved on: ${fault.message}`, fault.hint);
      await work.core.clock.sleep(backoffMs(blockedBackoff, this.#defects), work.signal);
      return true;
    }
  }

  /** One step. False when there is nothing left to do for this job. */
  async #advance(work: JobWork): Promise<boolean> {
    const job = work.core.ledger.book.jobs.get(this.id);
    if (!job) return false;
    if (job.fenced !== undefined) return await followFenced(work, job.fenced);
    if (job.releasing !== undefined) return await handBack(work, job.releasing);
    const step = nextStep(job);
    if (step === "none") {
      await dropSecrets(job);
      await abandonTransfers(work);
      return false;
    }
    const held = job.hold?.kind === "paused" || (job.quarantined !== undefined && step !== "archive");
    if (!job.bound || (held && !hasLiveAttempt(job) && step !== "stop")) {
      // Before central has acknowledged that the job is ours nothing may start; a paused or quarantined job waits for an order.
      await work.core.changed.next(work.signal, this.id);
      return true;
    }
    try {
      await waitOutHold(work, job);
      if (work.signal.aborted) return true;
      await enterStep(work.core, job, step);
      await steps[step](work);
      this.#defects = 0;
      work.core.problems.clear(`job:${this.id}`);
    } catch (error) {
      const fault = asFault(error);
      if (isJournalDead(fault)) throw fault;
      if (!work.signal.aborted) await this.#stepFailed(work, step, fault);
    }
    return true;
  }

  async #stepFailed(work: JobWork, step: Step, fault: Fault): Promise<void> {
    const { core, id } = work;
    const job = work.job();
    if (isStale(fault)) {
      await fence(core, id, fault.message);
      return;
    }
    const tries = job.step_tries + 1;
    work.context.log.info({ err: fault, step, tries }, "a step failed");
    const limit = isOutage(fault) ? undefined : stepTries[step];
    const hopeless = (fault.row.retry === "never" && !isOutage(fault)) || (limit !== undefined && tries >= limit);
    // While something may run the job is not over, whatever went wrong: only proof ends an attempt.
    if (hopeless && !hasLiveAttempt(job)) {
      if (step === "archive") {
        // The verdict stands whatever happens to the archive; say that it is incomplete.
        await transition(core, id, { type: "archived" }, { message: `outputs were not archived: ${fault.message}` });
        return;
      }
      if (step === "stage_out" && !isOfOutputs(fault)) await holdOutputs(work, fault, tries);
      else
        await transition(core, id, { type: "fail", failure: failureOfStep(step, fault) }, { message: fault.message });
      return;
    }
    const waitMs = backoffMs(
      step === "follow" && fault.code === "RATE_LIMITED" ? limitedBackoff : blockedBackoff,
      tries,
    );
    const now = core.clock.now();
    const hold = {
      kind: "blocked",
      reason: fault.message.slice(0, 900),
      since: job.hold?.since ?? isoTime(now),
      tries,
      next_try_at: isoTime(now + waitMs),
    } as const;
    const isOrdered = (now: HeldJob): boolean => now.hold !== undefined && now.hold.kind !== "blocked";
    await transition(
      core,
      id,
      { type: "hold", hold },
      { patch: { step_tries: tries }, when: (now) => !isOrdered(now) },
    );
    // The hold of an order (pause, cancel) stays; then the wait is ours alone.
    if (isOrdered(work.job())) {
      await amend(core, id, { step_tries: tries }, "lazy");
      await core.clock.sleep(waitMs, work.signal);
    }
  }
}

/** A blocked job waits for its next try; then the hold goes away with the step's first success or is replaced by its next failure. */
async function waitOutHold(work: JobWork, job: HeldJob): Promise<void> {
  if (job.hold?.kind !== "blocked") return;
  const { next_try_at: at } = job.hold;
  const { core, id } = work;
  if (at !== undefined) {
    await core.clock.sleep(core.deadlines.leftMs(id, "try", at, blockedBackoff.capMs), work.signal);
  }
  if (work.signal.aborted) return;
  await transition(core, id, { type: "unhold" }, { when: (now) => now.hold?.kind === "blocked" });
}

/** Central refused a write (of an output) because the job is somebody else's now. */
function isStale(fault: Fault): boolean {
  return fault.code === "STALE_EPOCH" || fault.details?.["last"] === "STALE_EPOCH";
}

/** Central is away or does not let us in, or our own disk is full: that costs no job its results, however long it takes (outputs wait for it). */
function isOutage(fault: Fault): boolean {
  const outages = ["UNREACHABLE", "UNAUTHENTICATED", "FORBIDDEN", "RATE_LIMITED", "STORE"];
  return isDiskFull(fault) || outages.includes(fault.code) || outages.some((code) => code === fault.details?.["last"]);
}

/** Of the outputs themselves: no place to bring them to would help. */
function isOfOutputs(fault: Fault): boolean {
  const { empty, max_bytes: bytes, max_files: files } = fault.details ?? {};
  const limited = bytes !== undefined || files !== undefined;
  return ["POLICY", "UNSAFE_PATH", "PARAMETERS"].includes(fault.code) || empty === true || limited;
}

/** A job that has succeeded is not lost for a destination that does not take its outputs: they stay here until a person says how it goes on. */
async function holdOutputs({ core, id }: JobWork, fault: Fault, tries: number): Promise<void> {
  const told = fault.message.slice(0, 700);
  const reason = `the job has succeeded and its outputs cannot be delivered: ${told}; they are kept here until it is resumed or cancelled`;
  const hold = { kind: "paused", reason, by: "siteagent", since: isoTime(core.clock.now()), tries } as const;
  const isOrdered = (now: HeldJob): boolean => now.hold?.kind === "paused" || now.hold?.kind === "cancelling";
  const patch = { step_tries: 0 };
  await transition(core, id, { type: "hold", hold }, { patch, message: reason, when: (now) => !isOrdered(now) });
}

function failureOfStep(step: Step, fault: Fault): Failure {
  const userFaults = ["POLICY", "UNSAFE_PATH", "PARAMETERS", "TRANSFER_REFUSED", "DIGEST_MISMATCH", "TOO_LARGE"];
  return {
    code: step === "stage_in" || step === "stage_out" ? `${step.toUpperCase()}_${fault.code}` : fault.code,
    category: userFaults.includes(fault.code) ? "user" : fault.code === "DEFECT" ? "service" : "site",
    message: fault.message.slice(0, 2000),
    ...(fault.hint === undefined ? {} : { hint: fault.hint.slice(0, 2000) }),
  };
}
