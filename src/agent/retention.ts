import { isJournalDead } from "./ledger.ts";
import { sleepUnless } from "../common/clock.ts";
import { asFault } from "../common/fault.ts";
import { failpoint } from "../common/failpoint.ts";
import type { AgentCore } from "./core.ts";
import type { HeldJob } from "./held-job.ts";
import { record } from "./records.ts";
import { dropSecrets } from "./secrets.ts";
import { amend } from "./transition.ts";

const longestPeriodMs = 60_000;
const shortestPeriodMs = 5_000;
/** Jobs that are cleaned together: their records share syncs of the journal. */
const atOnce = 128;

/** Removes the directories of ended jobs after the app's or site's `keep`, once everything is reported; then forgets the job. */
export async function runRetention(core: AgentCore): Promise<void> {
  while (!core.stopping.aborted) {
    using over = core.jobOver.listen();
    const due: HeldJob[] = [];
    let hasEnded = false;
    for (const job of core.jobs) {
      if (core.stopping.aborted) return;
      if (job.ended_at === undefined) continue;
      hasEnded = true;
      // Its driver did it, unless the agent was killed just then.
      if (job.fenced === undefined) await dropSecrets(job);
      if (core.ledger.book.outbox.has(job.id)) continue;
      const keepMs = job.app.keep ?? core.parts.site.agent.keepMs;
      if (Date.parse(job.ended_at) + keepMs <= core.clock.now()) due.push(job);
    }
    for (let start = 0; start < due.length && !core.stopping.aborted; start += atOnce) {
      await Promise.all(due.slice(start, start + atOnce).map((job) => clean(core, job)));
    }
    await sweep(core);
    // The first that ends is not kept longer because none had ended for long: ten thousand short jobs may end in a minute.
    if (hasEnded) await core.clock.sleep(periodMs(core), core.stopping);
    else await sleepUnless(core.clock, longestPeriodMs, over.heard, core.stopping);
  }
}

/** What jobs left at remotes that did not answer when they ended. */
async function sweep(core: AgentCore): Promise<void> {
  try {
    await core.parts.transfers.sweep(core.context());
  } catch (error) {
    core.log.warn({ err: asFault(error) }, "what jobs have left at remotes could not be looked at");
  }
}

/** Where little is kept for long, much is not kept for a minute: thousands of short jobs may end in one. */
function periodMs(core: AgentCore): number {
  const { agent, apps } = core.parts.site;
  const keeps = Object.values(apps).map((app) => app.keep ?? agent.keepMs);
  return Math.max(shortestPeriodMs, Math.min(longestPeriodMs, ...keeps));
}

/** @throws Fault JOURNAL when the journal is dead. */
async function clean(core: AgentCore, job: HeldJob): Promise<void> {
  try {
    await failpoint("clean.before-intent");
    if (job.cleaned !== true) await amend(core, job.id, { cleaned: true }, "report");
    await failpoint("clean.before-remove");
    await core.machine.removeDirectory(job.directory);
    await failpoint("clean.after-remove");
    core.problems.clear(`clean:${job.id}`);
    await core.ledger.commit([record("job.forgotten", { reason: "kept long enough" }, job.id)], "report");
    await failpoint("clean.after-forget");
  } catch (error) {
    const fault = asFault(error);
    if (isJournalDead(fault)) throw fault;
    core.problems.set(
      `clean:${job.id}`,
      `'${job.directory}' cannot be removed: ${fault.message}`,
      `look why, then remove it by hand`,
    );
  }
}
