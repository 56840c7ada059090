import { asFault, type Fault } from "../common/fault.ts";
import { sleepUnless } from "../common/clock.ts";
import type { CallContext } from "../common/context.ts";
import { failpoint } from "../common/failpoint.ts";
import { type Backoff, backoffMs, reportBackoff, waitAfterMs } from "../common/retry.ts";
import type { Central } from "../central/types.ts";
import type { Report, ReportResult } from "../wire/agent-api.ts";
import type { OutboxEntry } from "./book.ts";
import { isJournalDead, type Ledger } from "./ledger.ts";
import type { Notifier } from "./notifier.ts";
import { record } from "./records.ts";

const batchSize = 200;
/** Reports of a call whose outputs have to be read for it: they are in memory together, and thousands of rows at the hub. */
const mostPages = 4;
/** Calls begin no sooner after each other, but for a job that may not start before its first report is there: others gather meanwhile. */
const gatherMs = 25;
const longOutageMs = 600_000;
/** Reports of a job that central does not know: it may be another store's day, or its store comes back from a backup. */
const unknownBackoff: Backoff = { baseMs: 1_000, capMs: 600_000 };

export interface OutboxDeps {
  readonly ledger: Ledger;
  readonly central: Central;
  readonly work: Notifier;
  readonly changed: Notifier;
  /** Central answers other calls again after an outage: no need to wait for the end of a pause. */
  readonly back: Notifier;
  /** The report as it is sent, with the outputs of its page; undefined when they are not there any more. */
  readonly whole: (entry: OutboxEntry) => Promise<Report | undefined>;
  /** Central says the job is not ours any more. */
  readonly onFenced: (job: string, reason: string) => Promise<void>;
  /** Central does not know a job that it once confirmed to be ours; its reports are kept. */
  readonly onUnknown: (job: string) => void;
  /** Central answered (`undefined`), or did not. */
  readonly onContact: (fault: Fault | undefined) => void;
}

/**
 * Sends what the journal says is unsent: per job in order, each at least once, until acknowledged or refused with authority,
 * however long that takes. The only sender of reports. Never harms a job: it ends when `context.signal` aborts, and starts again.
 */
export async function runOutbox(deps: OutboxDeps, context: CallContext): Promise<void> {
  let failures = 0;
  let failingSince = 0;
  let sentAt = -Infinity;
  const deferred: Deferred = new Map();
  while (!context.signal.aborted) {
    using arrived = deps.work.listen();
    using back = deps.back.listen();
    const now = context.clock.monotonic();
    const entries = nextBatch(deps.ledger, deferred, now);
    const batch = entries.map(({ report }) => report);
    if (batch.length === 0) {
      await arrivedOrDue(arrived.heard, deferred, now, context);
      continue;
    }
    if (now < sentAt + gatherMs && !batch.some((report) => binds(deps.ledger, report))) {
      await sleepUnless(context.clock, sentAt + gatherMs - now, arrived.heard, context.signal);
      continue;
    }
    sentAt = now;
    try {
      await failpoint("report.before-send");
      const results = await deps.central.report(await wholeReports(deps, entries, context), context);
      await failpoint("report.after-send");
      failures = 0;
      deps.onContact(undefined);
      await settle(deps, batch, results, { deferred, context });
    } catch (error) {
      if (context.signal.aborted) return;
      const fault = asFault(error);
      if (isJournalDead(fault)) throw fault;
      if (failures === 0) failingSince = context.clock.monotonic();
      failures++;
      deps.onContact(fault);
      context.log.warn({ err: fault, unsent: batch.length, failures }, "reports could not be sent");
      const pauseMs = waitMs(fault, failures, context.clock.monotonic() - failingSince);
      // Who asked us to slow down is not asked sooner because it answers again.
      const asked = fault.code === "RATE_LIMITED" || fault.details?.["retry_after_ms"] !== undefined;
      if (asked) await context.clock.sleep(pauseMs, context.signal);
      else await sleepUnless(context.clock, pauseMs, back.heard, context.signal);
    }
  }
}

/** The job waits for central to acknowledge it. */
function binds({ book }: Ledger, { job, epoch }: Report): boolean {
  const held = book.jobs.get(job);
  return held?.bound === false && held.epoch === epoch;
}

/** In a long outage the pace sinks to one try in 10 minutes at most. */
function waitMs(fault: Fault, failures: number, failingMs: number): number {
  const policy = failingMs > longOutageMs ? { ...reportBackoff, capMs: longOutageMs } : reportBackoff;
  return waitAfterMs(fault, policy, failures);
}

/** Jobs whose reports central cannot take now (it misses an earlier one): not before that time, so that asking again hammers nobody. */
type Deferred = Map<string, { readonly notBeforeMs: number; readonly tries: number }>;

async function arrivedOrDue(
  arrived: Promise<void>,
  deferred: Deferred,
  now: number,
  context: CallContext,
): Promise<void> {
  const due = Math.min(...[...deferred.values()].map((entry) => entry.notBeforeMs));
  await sleepUnless(context.clock, Math.min(due - now, longOutageMs), arrived, context.signal);
}

/** Jobs in turn, each with its reports in order up to the first parked one. */
function nextBatch(ledger: Ledger, deferred: Deferred, now: number): OutboxEntry[] {
  const batch: OutboxEntry[] = [];
  let pages = 0;
  for (const id of deferred.keys()) if (!canBeSent(ledger.book.outbox.get(id))) deferred.delete(id);
  for (const [id, entries] of ledger.book.outbox) {
    if ((deferred.get(id)?.notBeforeMs ?? 0) > now) continue;
    for (const entry of entries) {
      if (entry.parked === "parked") break;
      if (batch.length >= batchSize || (entry.page && pages >= mostPages)) return batch;
      if (entry.page) pages++;
      batch.push(entry);
    }
  }
  return batch;
}

/** A manifest that was damaged or removed by hand holds up no report. */
async function wholeReports(
  { whole }: OutboxDeps,
  entries: readonly OutboxEntry[],
  context: CallContext,
): Promise<readonly Report[]> {
  const reports: Report[] = [];
  for (const entry of entries) {
    const report = await whole(entry);
    if (!report) {
      const { job, seq } = entry.report;
      context.log.error({ jobId: job, seq }, "outputs of a job cannot be told: their manifest is damaged or gone");
    }
    reports.push(report ?? entry.report);
  }
  return reports;
}

/** Not when all is acknowledged, nor behind a report that was refused: to wait for its time would be to wait for nothing. */
function canBeSent(entries: readonly OutboxEntry[] | undefined): boolean {
  const first = entries?.[0];
  return first !== undefined && first.parked !== "parked";
}

async function settle(
  deps: OutboxDeps,
  batch: readonly Report[],
  results: readonly ReportResult[],
  { deferred, context }: { readonly deferred: Deferred; readonly context: CallContext },
): Promise<void> {
  const acknowledgements = [];
  const skip = new Set<string>();
  for (const [index, result] of results.entries()) {
    const report = batch[index];
    if (!report || report.job !== result.job || report.seq !== result.seq || skip.has(report.job)) continue;
    const ack = record("out.ack", { epoch: report.epoch, seq: report.seq, outcome: result.outcome }, report.job);
    switch (result.outcome) {
      case "applied":
      case "duplicate":
        acknowledgements.push(ack);
        deferred.delete(report.job);
        break;
      case "gap":
        // Sent again in order with the next batch; later ones of this job cannot have been applied.
        skip.add(report.job);
        defer(deferred, report.job, context);
        context.log.warn(
          { jobId: report.job, seq: report.seq, expected: result.expected_seq },
          "central misses an earlier report",
        );
        break;
      case "fenced":
      case "unknown-job":
        skip.add(report.job);
        // A report of an earlier claim says nothing about the one that is held now.
        if (!isCurrent(deps.ledger, report)) acknowledgements.push(ack);
        else if (result.outcome === "unknown-job" && deps.ledger.book.jobs.get(report.job)?.bound === true) {
          defer(deferred, report.job, context, unknownBackoff);
          deps.onUnknown(report.job);
          acknowledgements.push(
            record("out.ack", { epoch: report.epoch, seq: report.seq, outcome: "unknown" }, report.job),
          );
        } else await deps.onFenced(report.job, result.detail ?? result.outcome);
        break;
      case "refused":
        context.log.error(
          { jobId: report.job, seq: report.seq, state: report.state, detail: result.detail },
          "central refused a report",
        );
        skip.add(report.job);
        acknowledgements.push(
          record("out.ack", { epoch: report.epoch, seq: report.seq, outcome: "parked" }, report.job),
        );
        break;
    }
  }
  await failpoint("report.before-ack");
  if (acknowledgements.length > 0) await deps.ledger.commit(acknowledgements, "group");
  await failpoint("report.after-ack");
  // An answer that settled nothing (cut short, about others) is no reason to send the same again at once.
  for (const report of batch) {
    if (deps.ledger.book.outbox.get(report.job)?.some((entry) => entry.report === report && entry.parked === undefined))
      if (!deferred.has(report.job)) defer(deferred, report.job, context);
  }
  for (const job of new Set(batch.map((report) => report.job))) deps.changed.notify(job);
}

function isCurrent(ledger: Ledger, report: Report): boolean {
  return (ledger.book.jobs.get(report.job)?.epoch ?? report.epoch) === report.epoch;
}

function defer(deferred: Deferred, job: string, context: CallContext, policy: Backoff = reportBackoff): void {
  const tries = (deferred.get(job)?.tries ?? 0) + 1;
  deferred.set(job, { notBeforeMs: context.clock.monotonic() + backoffMs(policy, tries), tries });
}
