import { hasUnsent } from "../book.ts";
import { isJournalDead } from "../ledger.ts";
import { failpoint } from "../../common/failpoint.ts";
import { asFault } from "../../common/fault.ts";
import { syncBackoff, waitAfterMs } from "../../common/retry.ts";
import type { JobWork } from "../driver.ts";
import { hasLiveAttempt } from "../held-job.ts";
import { record } from "../records.ts";
import { amend } from "../transition.ts";
import { attemptOf, refOf, withEnd } from "./follow.ts";
import type { AgentCore } from "../core.ts";
import type { HeldJob } from "../held-job.ts";

/**
 * A job that central took from us: nothing is reported, signalled or cleaned; a live attempt goes on and keeps its slot until it
 * ends by itself. Then the job is forgotten; its directories stay for a person to look at. False: nothing left to do.
 */
export async function followFenced(work: JobWork, reason: string): Promise<boolean> {
  const { core, id } = work;
  const job = work.job();
  if (hasLiveAttempt(job)) {
    // Without its launcher (target gone from the site file) this throws, and the driver says so until it is back.
    const { attempt, launcher } = attemptOf(work, job);
    const status = await core
      .follower(launcher)
      .wait(refOf(attempt), (seen) => seen.state === "ended" || seen.state === "absent", work.signal);
    if (status === undefined) return true;
    if (status.state === "ended") await amend(core, id, { attempts: withEnd(job, status.end) }, "report");
  }
  work.context.log.warn({ reason, directory: job.directory }, "job was taken from this site; its directories are kept");
  await core.ledger.commit([record("job.forgotten", { reason }, id)], "report");
  core.changed.notify(id);
  return false;
}

/** A job of which nothing runs and nothing was decided may go to others. */
export function mayHandBack(job: HeldJob): boolean {
  if (job.ended_at !== undefined || job.fenced !== undefined || job.releasing !== undefined) return false;
  if (job.quarantined !== undefined || job.verdict !== undefined || job.hold?.kind === "cancelling") return false;
  if (hasLiveAttempt(job)) return false;
  return ["READY", "STAGED_IN", "PREPROCESSED", "RESTART_READY"].includes(job.state);
}

/**
 * Marks a job for going back to central; its driver does the rest (`handBack`). Decided in the job's turn: an attempt planned
 * before it stays ours, one planned after it is never handed over. False when the job has to stay.
 */
export async function markForHandBack(core: AgentCore, id: string, reason: string): Promise<boolean> {
  if (!core.ledger.book.jobs.has(id)) return false;
  await failpoint("release.before-intent");
  const job = await amend(core, id, { releasing: reason }, "effect", mayHandBack);
  await failpoint("release.after-intent");
  return job.releasing !== undefined;
}

/** Gives a job back to central: only before its first attempt or between attempts. Repeatable. */
export async function handBack(work: JobWork, reason: string): Promise<boolean> {
  const { core, id } = work;
  const job = work.job();
  for (let failures = 1; !work.signal.aborted; failures++) {
    // Central has to know the state that we leave it in: reports first.
    if (hasUnsent(core.ledger.book.outbox.get(id))) {
      failures = 0;
      await core.changed.next(work.signal, id);
      continue;
    }
    try {
      await failpoint("release.before-send");
      await core.central.release({ job: id, opId: job.op_id, epoch: job.epoch, reason }, work.context);
      await failpoint("release.after-send");
      await abandonTransfers(work);
      await discard(work, job.directory);
      await failpoint("release.after-remove");
      await core.ledger.commit([record("job.forgotten", { reason: `handed back: ${reason}` }, id)], "report");
      await failpoint("release.after-forget");
      work.context.log.info({ reason }, "job was handed back");
      core.changed.notify(id);
      return false;
    } catch (error) {
      const fault = asFault(error);
      if (isJournalDead(fault)) throw fault;
      work.context.log.warn({ err: fault, failures }, "a job could not be handed back yet");
      await core.clock.sleep(waitAfterMs(fault, syncBackoff, failures), work.signal);
    }
  }
  return true;
}

async function discard(work: JobWork, directory: string): Promise<void> {
  try {
    await work.core.machine.removeDirectory(directory);
  } catch (error) {
    const fault = asFault(error);
    work.core.problems.set(
      `clean:${work.id}`,
      `'${directory}' cannot be removed: ${fault.message}`,
      "remove it by hand",
    );
  }
}

/** What services still copy for a job that is over, or another's, is ended; where that fails the adapter tries again by itself. */
export async function abandonTransfers(work: JobWork): Promise<void> {
  try {
    await work.core.parts.transfers.abandon(work.job().token, work.context);
  } catch (error) {
    work.context.log.warn({ err: asFault(error) }, "a transfer of a job that is over could not be ended");
  }
}
