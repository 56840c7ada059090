import { failpoint } from "../../common/failpoint.ts";
import { Fault } from "../../common/fault.ts";
import { newToken } from "../../common/token.ts";
import type { JobWork } from "../driver.ts";
import { jobDirectories } from "../directories.ts";
import type { HeldAttempt } from "../held-job.ts";
import { longestRetryDelayMs } from "../../jobs/rules.ts";
import { planAttempt } from "../../launchers/command.ts";
import { planInput } from "../plan.ts";
import { transition } from "../transition.ts";

/**
 * Plans the next attempt and makes the plan durable; `follow` hands it to the launcher. Waits for the retry delay and for room on
 * the target. The last attempt is proven dead before this (only then does a job get here).
 */
export async function launch(work: JobWork): Promise<void> {
  const { core, id } = work;
  const job = work.job();
  if (job.not_before !== undefined) {
    await core.clock.sleep(core.deadlines.leftMs(id, "attempt", job.not_before, longestRetryDelayMs), work.signal);
  }
  if (core.launcher(job.target) === undefined) {
    throw new Fault("RUNNER", `target '${job.target}' is not in the site file any more`, {
      hint: "put the target back, or cancel the job",
    });
  }
  const place = await core.gate.enter(job, work.signal);
  if (!place) return;
  try {
    if (work.signal.aborted) return;
    const number = job.attempt + 1;
    await failpoint("start.before-directories");
    if (!core.prepared.delete(id)) await core.machine.makeDirectories(job);
    if (number > 1 && job.app.restart === "clean") await core.machine.emptyDirectory(jobDirectories(job).work);
    const token = newToken();
    const plan = planAttempt(await planInput(core, job, { token, attempt: number, gpus: place.gpus }));
    // That of the first attempt comes with the job's.
    if (number > 1) await core.machine.makeDirectory(plan.directory);
    await failpoint("start.after-directories");
    const attempt: HeldAttempt = { attempt: number, token, directory: plan.directory, plan };
    // A crash may have left a plan of the same number that was never handed over: it has no durable record and is replaced.
    const attempts = [...job.attempts.filter((other) => other.attempt < number), attempt];
    await failpoint("start.before-intent");
    core.fresh.add(token);
    await transition(
      core,
      id,
      { type: "submitting" },
      { patch: { attempts, not_before: undefined }, durability: "effect" },
    );
    await failpoint("start.after-intent");
  } finally {
    place.leave();
  }
}
