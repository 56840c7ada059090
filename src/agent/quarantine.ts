import { isoTime } from "../common/clock.ts";
import type { Step } from "../jobs/decide.ts";
import type { AgentCore } from "./core.ts";
import type { HeldJob } from "./held-job.ts";
import { amend, transition } from "./transition.ts";

/** Steps in which the work of one job could end the process: they are journaled before they begin. */
const risky: ReadonlySet<Step> = new Set<Step>([
  "stage_in",
  "preprocess",
  "launch",
  "handle_error",
  "handle_timeout",
  "postprocess",
  "stage_out",
  "archive",
]);
/** So many deaths of the process in the same step of a job, without progress of it, and the job is held back. */
const mostDeaths = 2;

/** Says durably that the job's risky step begins; cleared by the next change of state. */
export async function enterStep(core: AgentCore, job: HeldJob, step: Step): Promise<void> {
  if (!risky.has(step) || job.entered?.step === step || isTrivial(job, step)) return;
  await amend(core, job.id, { entered: { step, deaths: 0 } }, "effect");
}

/**
 * At the start, before any job goes on: a job in whose step the process died twice is quarantined, the others are served.
 * several are suspect (the machine or an operator may have killed us) only the first of them waits: each further death finds one more.
 */
export async function quarantineSuspects(core: AgentCore): Promise<void> {
  const suspects = [...core.open].filter(
    (job) => (job.entered?.deaths ?? 0) >= mostDeaths && job.quarantined === undefined && job.fenced === undefined,
  );
  for (const job of suspects) {
    const { step = "", deaths = 0 } = job.entered ?? {};
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

/** Nothing of the job's own is touched: not worth a record. */
function isTrivial(job: HeldJob, step: Step): boolean {
  switch (step) {
    case "preprocess":
    case "postprocess":
    case "handle_error":
    case "handle_timeout":
      return job.app.hooks[step] === undefined;
    default:
      return false;
  }
}
