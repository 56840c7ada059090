import { join } from "node:path";
import type { CallContext } from "../../common/context.ts";
import type { Token } from "../../common/token.ts";
import { formatDuration } from "../../common/units.ts";
import type { Host } from "../../hosts/types.ts";
import type { Evidence } from "../../runner/evidence.ts";
import type { ScheduledJob, ScheduledStatus } from "../../schedulers/types.ts";
import { unreachable } from "../answers.ts";
import { recordOf } from "../judging.ts";
import type { AttemptRef, AttemptStatus } from "../types.ts";
import { hasBegun, judge, type Judgement, type Patience } from "./judge.ts";
import { evidenceOn, logTail, takeGuard, whyWithdrawn, withdraw } from "./places.ts";
import { keyOf, type SchedulerQueue } from "./queue.ts";

interface Known {
  readonly ref: AttemptRef;
  /** undefined = proven never submitted; `over` = it has begun, and the scheduler does not know it any more. */
  readonly job: ScheduledJob | "over" | undefined;
  evidence: Evidence | undefined;
  /** Monotonic times; undefined = not so. */
  lookedAt: number;
  overAt: number | undefined;
  unknownAt: number | undefined;
  lastState: ScheduledStatus["state"] | undefined;
  hinted: boolean;
  ordered: boolean;
  /** Since when it has been in the queue; of one that an earlier agent submitted, by what the wall clock says of that. */
  queuedSince: number | undefined;
  /** When it was last taken out of the queue for having waited too long. */
  withdrawnAt: number;
  final: AttemptStatus | undefined;
  watch: Disposable | undefined;
}

export interface AttemptsOptions {
  readonly host: Host;
  readonly queue: SchedulerQueue;
  readonly patience: Patience;
  readonly trustsAccounting: boolean;
  readonly queueLimitMs: number | undefined;
  readonly lookMs: number;
}

type Ended = Extract<AttemptStatus, { readonly state: "ended" }>;

/** What was to be taken out of the queue and is still there is tried again after so long. */
const withdrawAgainMs = 60_000;

/** Ended attempts that are remembered; the agent asks for them a few more times. */
const mostKnown = 20_000;

/** What is known of each attempt: evidence from its directory, read when it probably changed, beside the scheduler's latest answer. */
export class Attempts implements Disposable {
  readonly #options: AttemptsOptions;
  readonly #onChange: (token: Token) => void;
  readonly #known = new Map<Token, Known>();
  /** Those of jobs that are followed. */
  readonly #tokens = new Map<string, Token>();
  readonly #news: Disposable;

  constructor(options: AttemptsOptions, onChange: (token: Token) => void) {
    this.#options = options;
    this.#onChange = onChange;
    this.#news = options.queue.watch((job) => {
      const token = this.#tokens.get(keyOf(job));
      if (token !== undefined) onChange(token);
    });
  }

  knows(token: Token): boolean {
    return this.#known.has(token);
  }

  jobOf(token: Token): ScheduledJob | undefined {
    return jobIn(this.#known.get(token));
  }

  take(ref: AttemptRef, job: Known["job"]): void {
    const [oldest] = this.#known.keys();
    if (this.#known.size >= mostKnown && oldest !== undefined) this.#forget(oldest);
    if (job && job !== "over") this.#tokens.set(keyOf(job), ref.token);
    this.#known.set(ref.token, {
      ref,
      job,
      evidence: undefined,
      lookedAt: Number.NEGATIVE_INFINITY,
      overAt: undefined,
      unknownAt: undefined,
      lastState: undefined,
      hinted: true,
      ordered: false,
      queuedSince: undefined,
      withdrawnAt: Number.NEGATIVE_INFINITY,
      final: undefined,
      // From the start: what it shows before anybody asks is not missed.
      watch: job && this.#watch(ref),
    });
  }

  /** We asked the scheduler to cancel it. */
  order(token: Token): void {
    const known = this.#known.get(token);
    if (known) known.ordered = true;
  }

  async statuses(refs: readonly AttemptRef[], context: CallContext): Promise<readonly AttemptStatus[]> {
    const open = refs.flatMap(({ token }) => {
      const known = this.#known.get(token);
      return known?.final ? [] : (jobIn(known) ?? []);
    });
    const answers = open.length === 0 ? [] : await this.#options.queue.statuses(open, context);
    const scheduled = new Map(open.map((job, index) => [job, answers[index]]));
    const overdue: ScheduledJob[] = [];
    const statuses = await Promise.all(
      refs.map(async ({ token }): Promise<AttemptStatus> => {
        const known = this.#known.get(token);
        if (!known) return { state: "unknown", why: "unreachable", raw: "what became of its submission is not known" };
        if (known.final) return known.final;
        try {
          const answer = known.job === "over" ? ({ state: "absent" } as const) : known.job && scheduled.get(known.job);
          const status = await this.#status(known, answer, context);
          return status.state === "queued" ? await this.#limited(known, status, overdue, context) : status;
        } catch (error) {
          return unreachable(error);
        }
      }),
    );
    if (overdue.length > 0) void this.#cancel(overdue, context);
    return statuses;
  }

  [Symbol.dispose](): void {
    this.#news[Symbol.dispose]();
    for (const known of this.#known.values()) known.watch?.[Symbol.dispose]();
    this.#known.clear();
  }

  async #status(known: Known, scheduled: ScheduledStatus | undefined, context: CallContext): Promise<AttemptStatus> {
    // Never submitted, and it may still be: nothing of this is remembered.
    if (!known.job) {
      this.#forget(known.ref.token);
      return { state: "absent" };
    }
    const now = context.clock.monotonic();
    const evidence = await this.#look(known, scheduled, context);
    this.#note(known, scheduled, evidence, now);
    let verdict = this.#judge(known, scheduled, evidence, now, context);
    const mayBegin =
      scheduled?.state === "absent" || (scheduled?.state === "ended" && scheduled.verdict.neverBegan === true);
    if (verdict.status.state === "ended" && !hasBegun(evidence) && mayBegin) {
      // Nothing may start under this token after it was called over.
      if (!(await takeGuard(this.#options.host, known.ref.directory, context))) {
        known.evidence = await evidenceOn(this.#options.host, known.ref.directory, context);
        verdict = this.#judge(known, scheduled, known.evidence, now, context);
      }
    }
    if (verdict.urgent) this.#options.queue.hurry(context);
    if (verdict.status.state !== "ended") return verdict.status;
    return this.#end(known, await this.#explained(known.ref, verdict.status, context));
  }

  /** What has waited too long is kept from starting, and goes into `overdue` to be taken out of the queue. */
  async #limited(
    known: Known,
    status: Extract<AttemptStatus, { state: "queued" }>,
    overdue: ScheduledJob[],
    context: CallContext,
  ): Promise<AttemptStatus> {
    const { host, queueLimitMs } = this.#options;
    if (queueLimitMs === undefined || known.job === undefined || known.job === "over") return status;
    const now = context.clock.monotonic();
    known.queuedSince ??= now - Math.max(0, context.clock.now() - Date.parse(known.job.submittedAt));
    if (now - known.queuedSince < queueLimitMs) return status;
    const reason = `it waited longer than the target's queue_limit (${formatDuration(queueLimitMs)}); the scheduler said: ${status.reason || "nothing"}`;
    if (now - known.withdrawnAt >= withdrawAgainMs && (await withdraw(host, known.ref.directory, reason, context))) {
      known.withdrawnAt = now;
      known.ordered = true;
      overdue.push(known.job);
    }
    return { ...status, reason: `${reason}; it is being taken out of the queue` };
  }

  async #cancel(overdue: readonly ScheduledJob[], context: CallContext): Promise<void> {
    try {
      const results = await this.#options.queue.cancel(overdue, context);
      context.log.warn({ overdue, results }, "jobs that waited longer than queue_limit are cancelled");
    } catch (error) {
      context.log.warn({ overdue, err: error }, "jobs that waited longer than queue_limit cannot be cancelled yet");
    }
  }

  /** The job script's last words say why nothing was started. */
  async #explained(ref: AttemptRef, status: Ended, context: CallContext): Promise<Ended> {
    if (status.end.cause === "cancelled") return await this.#withdrawn(ref, status, context);
    if (status.end.cause !== "launch") return status;
    const tail = await logTail(this.#options.host, ref.directory, context);
    if (tail === undefined) return status;
    return { ...status, end: { ...status.end, message: `${status.end.message ?? ""}: ${tail}` } };
  }

  /** What was cancelled for having waited too long says so: nobody ordered it. */
  async #withdrawn(ref: AttemptRef, status: Ended, context: CallContext): Promise<Ended> {
    const message = await whyWithdrawn(this.#options.host, ref.directory, context);
    if (message === undefined) return status;
    const begun = this.#known.get(ref.token)?.evidence;
    const cause = begun !== undefined && hasBegun(begun) ? status.end.cause : "launch";
    return { ...status, end: { ...status.end, cause, message } };
  }

  #judge(
    known: Known,
    scheduled: ScheduledStatus | undefined,
    evidence: Evidence,
    now: number,
    context: CallContext,
  ): Judgement {
    const since = (at: number | undefined): number | undefined => (at === undefined ? undefined : now - at);
    return judge(
      {
        evidence,
        scheduled,
        ordered: known.ordered || evidence.stop,
        overForMs: since(known.overAt),
        unknownForMs: since(known.unknownAt),
        nowMs: context.clock.now(),
        trustsAccounting: this.#options.trustsAccounting,
      },
      this.#options.patience,
    );
  }

  /** The directory is read again when something probably changed, and now and then; between that the last look counts. */
  async #look(known: Known, scheduled: ScheduledStatus | undefined, context: CallContext): Promise<Evidence> {
    const { host, lookMs } = this.#options;
    const now = context.clock.monotonic();
    const over = scheduled?.state === "ended" || scheduled?.state === "absent" || scheduled?.state === "finishing";
    const due = known.hinted || over || scheduled?.state !== known.lastState || now - known.lookedAt >= lookMs;
    if (known.evidence && !due) return known.evidence;
    known.hinted = false;
    known.lookedAt = now;
    if (known.evidence?.job && !known.evidence.rc) {
      const record = await host.files.stat(join(known.ref.directory, "rc"), context);
      if (record === undefined && !over) return known.evidence;
    }
    known.evidence = await evidenceOn(host, known.ref.directory, context);
    return known.evidence;
  }

  /** Since when something is so. Patience counts only while the scheduler answers: who cannot ask cannot wait for an answer. */
  #note(known: Known, scheduled: ScheduledStatus | undefined, evidence: Evidence, now: number): void {
    known.lastState = scheduled?.state;
    const recorded = recordOf(evidence) !== undefined;
    const over = scheduled?.state === "ended" || scheduled?.state === "absent";
    known.overAt = over ? (known.overAt ?? now) : undefined;
    const unknown = recorded && scheduled?.state === "unknown";
    known.unknownAt = unknown ? (known.unknownAt ?? now) : undefined;
  }

  #watch(ref: AttemptRef): Disposable | undefined {
    return this.#options.host.files.watch?.(ref.directory, (name) => {
      if (name !== "rc" && name !== "job" && name !== "") return;
      const known = this.#known.get(ref.token);
      if (known) known.hinted = true;
      this.#onChange(ref.token);
    });
  }

  #end(known: Known, status: AttemptStatus): AttemptStatus {
    known.final = status;
    known.watch?.[Symbol.dispose]();
    known.watch = undefined;
    const job = jobIn(known);
    if (job) {
      this.#options.queue.forget(job);
      this.#tokens.delete(keyOf(job));
    }
    this.#onChange(known.ref.token);
    return status;
  }

  #forget(token: Token): void {
    const known = this.#known.get(token);
    known?.watch?.[Symbol.dispose]();
    const job = jobIn(known);
    if (job) this.#tokens.delete(keyOf(job));
    this.#known.delete(token);
  }
}

/** Whom the scheduler is asked for. */
function jobIn(known: Known | undefined): ScheduledJob | undefined {
  return known?.job === "over" ? undefined : known?.job;
}
