import type { AgentCore } from "./core.ts";
import { record } from "./records.ts";

/**
 * Central says the job is no longer ours: journal it, stop writing; processes are left alone (fencing policy "leave"). A job that we are
 * just handing back is not taken from us: nothing of it runs, and the hand-back goes on. Returns whether its work has to look again.
 */
export async function fence(core: AgentCore, id: string, reason: string): Promise<boolean> {
  const job = core.ledger.book.jobs.get(id);
  if (!job || job.fenced !== undefined) return false;
  if (job.ended_at !== undefined) {
    show(core, id, reason);
    await core.ledger.commit([record("job.forgotten", { reason }, id)], "report");
    return true;
  }
  const fenced = await core.jobLock.run(id, async () => {
    const now = core.ledger.book.jobs.get(id);
    if (!now) return false;
    const unsent = core.ledger.book.outbox.get(id)?.at(-1);
    const entries: ReturnType<typeof record>[] = [];
    if (now.releasing === undefined) {
      show(core, id, reason);
      entries.push(record("job.change", { patch: { fenced: reason } }, id));
    } else {
      core.log.info({ jobId: id, reason }, "fenced: nothing is written for this job any more; its hand-back goes on");
    }
    if (unsent) entries.push(record("out.ack", { epoch: now.epoch, seq: unsent.report.seq, outcome: "fenced" }, id));
    if (entries.length > 0) await core.ledger.commit(entries, "effect");
    return now.releasing === undefined;
  });
  core.changed.notify(id);
  return fenced;
}

function show(core: AgentCore, id: string, reason: string): void {
  core.problems.set(
    `fenced:${id}`,
    `job '${id}' was taken from this site: ${reason}`,
    "nothing is reported for it any more; its processes and directories are left alone",
  );
  core.log.warn({ jobId: id, reason }, "fenced: nothing is written for this job any more");
}

/** Central does not know a job that it once confirmed to be ours. That is no word about whose it is: the job goes on, reports are kept. */
export function showUnknown(core: AgentCore, id: string): void {
  core.problems.set(
    `unknown:${id}`,
    `central does not know job '${id}', which this site holds`,
    "it goes on and its reports are kept and offered again; look whether central has lost its store, or is another one",
  );
}
