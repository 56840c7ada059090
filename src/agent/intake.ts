import { isoTime } from "../common/clock.ts";
import { asFault, type Fault } from "../common/fault.ts";
import { failpoint } from "../common/failpoint.ts";
import { newToken } from "../common/token.ts";
import type { App } from "../jobs/app.ts";
import { resolveParameters } from "../jobs/parameters.ts";
import type { Failure } from "../jobs/states.ts";
import type { Assignment } from "../central/types.ts";
import type { JobSpec } from "../wire/agent-api.ts";
import type { AgentCore } from "./core.ts";
import { jobDirectory } from "./directories.ts";
import type { HeldJob } from "./held-job.ts";
import { objectValues } from "./plan.ts";
import { fence } from "./fence.ts";
import { isJournalDead } from "./ledger.ts";
import { begin } from "./transition.ts";

export interface Won {
  readonly job: string;
  readonly opId: string;
  readonly epoch: number;
  readonly spec: JobSpec;
}

/** The app that serves a workflow; undefined when the site has none. */
export function appFor(core: AgentCore, workflow: string): App | undefined {
  return Object.values(core.parts.site.apps).find((app) => app.workflow === workflow);
}

/** What becomes of a job that was given to us. */
export interface Intake {
  readonly onTaken: (job: string) => void;
  /** It was known before. */
  readonly onChanged: (job: string) => void;
}

/**
 * Takes what central assigns, all at once: their records go to the disk with one sync, their first reports to central with one call. One
 * that cannot be taken keeps back no other; central gives it again. @throws Fault when nothing goes on: the journal is dead, the agent stops.
 */
export async function takeAssigned(core: AgentCore, all: readonly Assignment[], intake: Intake): Promise<void> {
  // Of one job one after the other, should it come twice.
  const byJob = Map.groupBy(all, ({ job }) => job);
  const faults = await Promise.all([...byJob.values()].map((some) => takeInTurn(core, some, intake)));
  const fault = faults.find((one) => one !== undefined);
  if (fault) throw fault;
}

async function takeInTurn(
  core: AgentCore,
  assignments: readonly Assignment[],
  intake: Intake,
): Promise<Fault | undefined> {
  for (const { job, op_id: opId, epoch, spec } of assignments) {
    try {
      if (await takeJob(core, { job, opId, epoch, spec })) intake.onTaken(job);
      else intake.onChanged(job);
    } catch (error) {
      const fault = asFault(error);
      if (isJournalDead(fault) || core.stopping.aborted) return fault;
      core.log.error({ err: fault, jobId: job }, "an assigned job could not be taken");
    }
  }
  return undefined;
}

/**
 * Takes a job that central gave us: durable before anything else, in one group with the first report, whose acknowledgement binds.
 * A job that its app does not accept is held all the same and fails at once, with every reason. Returns false when it is known.
 */
export async function takeJob(core: AgentCore, won: Won): Promise<boolean> {
  const known = core.ledger.book.jobs.get(won.job);
  if (known) {
    // Handed to us anew while we still have it from an earlier claim: that one is over, and goes before this one is taken. Central
    // gives it again meanwhile, and takes it back when the old attempt outlasts the lease.
    if (known.epoch < won.epoch) await fence(core, won.job, `central handed it out anew, as epoch ${won.epoch}`);
    return false;
  }
  const app = appFor(core, won.spec.workflow);
  if (!app) {
    core.log.warn(
      { jobId: won.job, workflow: won.spec.workflow },
      "central gave a job whose workflow no app serves; handing it back",
    );
    await core.central.release(
      { job: won.job, opId: won.opId, epoch: won.epoch, reason: "no app of this site serves the workflow" },
      core.context(),
    );
    return false;
  }
  const resolved = resolveParameters(app, { ...won.spec, object: objectValues(won.spec) });
  const held = newHeldJob(core, won, app, resolved.ok ? resolved.values : {});
  await failpoint("claim.before-record");
  if (resolved.ok) {
    await begin(core, held, { type: "claimed" });
    await failpoint("claim.after-record");
    return true;
  }
  const problems = resolved.problems.map((problem) => problem.message);
  const failure: Failure = {
    code: "PARAMETERS",
    category: "user",
    message: problems.join("; ").slice(0, 2000),
    hint: `app '${app.name}' of workflow '${app.workflow}' does not accept the job's parameters`,
  };
  await begin(core, held, { type: "fail", failure }, { message: failure.message });
  await failpoint("claim.after-record");
  return true;
}

function newHeldJob(core: AgentCore, won: Won, app: App, parameters: HeldJob["parameters"]): HeldJob {
  const now = isoTime(core.clock.now());
  const token = newToken();
  const host = core.host(app.target);
  return {
    id: won.job,
    op_id: won.opId,
    epoch: won.epoch,
    token,
    spec: won.spec,
    app,
    app_digest: core.parts.site.appDigests[app.name] ?? "",
    target: app.target,
    directory: jobDirectory(host?.workdir ?? core.parts.site.agent.stateDir, token),
    parameters,
    attempts: [],
    manifest_in: [],
    manifest_out: [],
    seq: 0,
    bound: false,
    step_tries: 0,
    data: {},
    claimed_at: now,
    updated_at: now,
    history: [],
    state: "READY",
    phase: "none",
    attempt: 0,
    tries: 0,
    hooks_done: [],
  };
}
