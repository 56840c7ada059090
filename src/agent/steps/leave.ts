import { failpoint } from "../../common/failpoint.ts";
import { asFault } from "../../common/fault.ts";
import { backoffMs, syncBackoff } from "../../common/retry.ts";
import type { JobWork } from "../driver.ts";
import { removeDirectory } from "../directories.ts";
import { hasLiveAttempt } from "../held-job.ts";
import { record } from "../records.ts";
import { amend } from "../transition.ts";
import { attemptOf, refOf, withEnd } from "./follow.ts";

/**
 * A job that central took from us: nothing is reported, signalled or cleaned; a live attempt goes on and keeps its slot until it
 * ends by itself. Then the job is forgotten; its directories stay for a person to look at. False: nothing left to do.
 */
export async function followFenced(work: JobWork): Promise<boolean> {
  const { core, id } = work;
  const job = work.job();
  if (hasLiveAttempt(job)) {
    const { attempt, launcher } = attemptOf(work, job);
    const status = await core
      .follower(launcher)
      .wait(refOf(attempt), (seen) => seen.state === "ended" || seen.state === "absent", work.signal);
    if (status === undefined) return true;
    if (status.state === "ended") await amend(core, id, { attempts: withEnd(job, status.end) }, "report");
  }
  work.context.log.warn(
    { reason: job.fenced, directory: job.directory },
    "job was taken from this site; its directories are kept",
  );
  await core.ledger.commit([record("job.forgotten", { reason: job.fenced ?? "fenced" }, id)], "report");
  core.changed.notify();
  return false;
}

/** Gives a job back to central: only before its first attempt or between attempts. Repeatable. */
export async function handBack(work: JobWork): Promise<boolean> {
  const { core, id } = work;
  const job = work.job();
  for (let failures = 1; !work.signal.aborted; failures++) {
    try {
      await failpoint("release.before-send");
      await core.central.release(
        { job: id, opId: job.op_id, epoch: job.epoch, reason: job.releasing ?? "handed back" },
        work.context,
      );
      await failpoint("release.after-send");
      await core.ledger.commit(
        [record("job.forgotten", { reason: `handed back: ${job.releasing ?? ""}` }, id)],
        "report",
      );
      await removeDirectory(job.directory);
      core.changed.notify();
      return false;
    } catch (error) {
      const fault = asFault(error);
      if (fault.code === "JOURNAL") throw fault;
      work.context.log.warn({ err: fault, failures }, "a job could not be handed back yet");
      await core.clock.sleep(backoffMs(syncBackoff, failures), work.signal);
    }
  }
  return true;
}
