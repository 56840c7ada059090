import { isoTime } from "../common/clock.ts";
import type { AgentCore } from "./core.ts";
import type { Step } from "../jobs/decide.ts";
import type { HeldJob } from "./held-job.ts";
import { isRisky } from "./risky.ts";
import { amend, transition } from "./transition.ts";

/** So many deaths of the process in the same step of a job, without progress of it, and the job is held back. */
const mostDeaths = 2;

/**
 * Says durably that the job's risky step begins, where the change that led to it did not say so, or a process before this one did; cleared
 * by the next change of state.
 */
export async function enterStep(core: AgentCore, job: HeldJob, step: Step): Promise<void> {
  const before = job.entered?.step === step ? job.entered : undefined;
  if (!isRisky(job, step) || (before && before.waiting !== true)) return;
  await amend(core, job.id, { entered: { step, deaths: before?.deaths ?? 0 } }, "effect");
}

/**
 * At the start, before any job goes on: each job in whose step the process died twice is quarantined, the others are served.
 */
export async function quarantineSuspects(core: AgentCore): Promise<void> {
  for (const job of [...core.open]) {
    if (job.entered === undefined || job.quarantined !== undefined || job.fenced !== undefined) continue;
    const { step, deaths } = job.entered;
    if (deaths < mostDeaths) continue;
    const reason = `quarantined: the agent died ${deaths} times in step '${step}' of this job`;
    core.log.error({ jobId: job.id, step, deaths }, "job is quarantined; the others are served");
    core.problems.set(
      `quarantine:${job.id}`,
      `job '${job.id}' is ${reason}`,
      `look at the log, then: siteagent resume ${job.id}, or: siteagent cancel ${job.id} --local`,
    );
    if (job.verdict !== undefined) {
      // It is over but for its archive: the verdict stands without it.
      await transition(core, job.id, { type: "archived" }, { message: `outputs were not archived: ${reason}` });
      continue;
    }
    const hold = { kind: "blocked", reason, since: isoTime(core.clock.now()), tries: deaths } as const;
    await transition(
      core,
      job.id,
      { type: "hold", hold },
      { patch: { quarantined: reason }, message: reason, durability: "effect" },
    );
  }
}
