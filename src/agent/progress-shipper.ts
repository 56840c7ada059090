import { asFault, isFault } from "../common/fault.ts";
import { logBackoff, waitAfterMs } from "../common/retry.ts";
import type { ProgressRequest } from "../wire/agent-api.ts";
import type { AgentCore } from "./core.ts";
import { progressView } from "./views.ts";

const shortestPauseMs = 1_000;
const longestPauseMs = 5_000;
/** Jobs of one call; more are not shown. */
const mostJobs = 1_000;
/** A hub that does not know the call is asked again, for it may be a newer one then. */
const unknownPauseMs = 600_000;

/**
 * Tells central how far the files are that move now, where it wants to know: every 5 s, every second while somebody looks. For people:
 * nothing is kept, repeated or journaled, and a transfer that is over sooner is never told.
 */
export async function runProgressShipper(core: AgentCore): Promise<void> {
  let told = false;
  let failures = 0;
  while (!core.stopping.aborted) {
    if (core.progress.size === 0 && !told) await core.progressWork.next(core.stopping);
    const pauseMs = Math.min(Math.max(core.logIntervalMs, shortestPauseMs), longestPauseMs);
    await core.clock.sleep(pauseMs, core.stopping);
    if (core.stopping.aborted || (core.progress.size === 0 && !told)) continue;
    try {
      const moving = movingNow(core);
      await core.central.putProgress?.(moving, core.context());
      told = moving.jobs.length > 0;
      failures = 0;
    } catch (error) {
      const fault = asFault(error);
      core.log.debug({ err: fault }, "how far transfers are could not be told");
      const isUnknown = isFault(fault, "NOT_FOUND", "UNSUPPORTED", "INVALID");
      await core.clock.sleep(isUnknown ? unknownPauseMs : waitAfterMs(fault, logBackoff, ++failures), core.stopping);
    }
  }
}

/** Names of files stay here unless the site reports in full. */
function movingNow(core: AgentCore): ProgressRequest {
  const full = core.parts.site.agent.report === "full";
  const jobs = [...core.progress].slice(0, mostJobs).flatMap(([id, progress]) => {
    const job = core.ledger.book.jobs.get(id);
    if (!job?.bound || job.fenced !== undefined) return [];
    const view = progressView(progress);
    return [{ job: id, epoch: job.epoch, ...view, path: full ? view.path : "" }];
  });
  return { jobs };
}
