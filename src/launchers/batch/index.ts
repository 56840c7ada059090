import { z } from "zod";
import type { Handle, Probe } from "../../common/adapter.ts";
import type { CallContext } from "../../common/context.ts";
import { failpoint } from "../../common/failpoint.ts";
import { Fault } from "../../common/fault.ts";
import type { Token } from "../../common/token.ts";
import type { AttemptLimits } from "../../jobs/resources.ts";
import type { ScheduledJob } from "../../schedulers/types.ts";
import { stopEach } from "../answers.ts";
import { Listeners } from "../listeners.ts";
import { limitProblems, planProblems, refuse } from "../refusal.ts";
import type {
  AttemptPlan,
  AttemptRef,
  AttemptStatus,
  Launcher,
  LauncherCapabilities,
  LaunchResult,
  StopResult,
} from "../types.ts";
import { Arrays } from "./arrays.ts";
import { Attempts } from "./attempts.ts";
import { scheduledJobSchema } from "./job-schema.ts";
import type { Patience } from "./judge.ts";
import { markStopped, readSubmission, type Submission, submissionFile, takeGuard } from "./places.ts";
import { apartMs, Submissions } from "./submissions.ts";
import { makeHandle, Submitter, type SubmitterOptions } from "./submitter.ts";

export interface BatchLauncherOptions extends SubmitterOptions {
  /** What one attempt can have: more is refused before anything is submitted. */
  readonly limits: AttemptLimits;
  readonly patience: Patience;
  /** Whether the scheduler's word is taken for a success that left no exit record. */
  readonly trustsAccounting: boolean;
  /** How long an attempt may wait in the queue, milliseconds; undefined = for ever. */
  readonly queueLimitMs: number | undefined;
  /** How long after an unclear submission the scheduler's silence proves that nothing was accepted; milliseconds. */
  readonly settleMs: number;
  /** How often an attempt's directory is looked at where no watch tells of changes, milliseconds. */
  readonly lookMs: number;
}

/** `over`: it has begun, and its job is not known any more; its directory says how it ended. */
const handleSchema = z.union([z.object({ job: scheduledJobSchema }), z.object({ over: z.literal(true) })]);
const overHandle: Handle = { adapter: "batch", version: 1, data: { over: true } };

/** Timers may be early by a millisecond. */
const timerSlackMs = 10;

/** Starts each attempt as a job of a batch scheduler, and follows it by its own evidence and the scheduler's word. */
export function createBatchLauncher(options: BatchLauncherOptions): Launcher {
  return new BatchLauncher(options);
}

class BatchLauncher implements Launcher {
  readonly kind = "batch";
  readonly capabilities: LauncherCapabilities = { runtimes: ["plain"], tier: "scheduler", attach: false };
  readonly #options: BatchLauncherOptions;
  readonly #attempts: Attempts;
  readonly #arrays: Arrays;
  readonly #submitter: Submitter;
  readonly #submissions: Submissions;
  readonly #listeners = new Listeners();

  constructor(options: BatchLauncherOptions) {
    this.#options = options;
    this.#arrays = new Arrays(options.host);
    this.#submitter = new Submitter(options, this.#arrays);
    this.#submissions = new Submissions(options.queue, options.settleMs);
    this.#attempts = new Attempts(options, (token) => this.#listeners.tell(token));
  }

  get trouble(): string | undefined {
    return this.#options.queue.trouble;
  }

  async probe(context: CallContext): Promise<Probe> {
    const host = await this.#options.host.probe(context);
    return host.ok ? await this.#options.queue.scheduler.probe(context) : host;
  }

  async launch(plans: readonly AttemptPlan[], context: CallContext): Promise<readonly LaunchResult[]> {
    const results = new Map<AttemptPlan, LaunchResult>();
    await failpoint("batch.before-launch");
    await Promise.all(
      plans.map(async (plan) => {
        const known = await this.#launchedBefore(plan, context);
        if (known) results.set(plan, known);
      }),
    );
    const fresh = plans.filter((plan) => !results.has(plan));
    for (const [plan, result] of await this.#submitter.submit(fresh, context)) {
      if (result.state === "accepted") this.#take({ ...plan, handle: result.handle });
      results.set(plan, result);
    }
    await failpoint("batch.after-launch");
    return plans.map((plan) => results.get(plan) ?? { state: "unknown", why: "no answer" });
  }

  async find(refs: readonly AttemptRef[], context: CallContext): Promise<readonly (Handle | undefined)[]> {
    return Promise.all(
      refs.map(async (ref) => {
        if (jobOf(ref)) return ref.handle;
        const submission = await this.#submissionOf(ref, context);
        if (!submission) return (await this.#hasBegun(ref, context)) ? overHandle : undefined;
        let found = await this.#submissions.find(submission, context);
        // After a restart the second look is all that is missing: nobody need come again for it, each time later than before.
        if (found.state === "unknown" && (found.againMs ?? Infinity) <= apartMs) {
          await context.clock.sleep((found.againMs ?? 0) + timerSlackMs, context.signal);
          found = await this.#submissions.find(submission, context);
        }
        if (found.state === "unknown") throw new Fault("UNREACHABLE", found.why);
        if (found.state === "found") return makeHandle(found.job);
        return (await this.#hasBegun(ref, context)) ? overHandle : undefined;
      }),
    );
  }

  async statuses(refs: readonly AttemptRef[], context: CallContext): Promise<readonly AttemptStatus[]> {
    await Promise.all(refs.map((ref) => this.#learnJob(ref, context)));
    const statuses = await this.#attempts.statuses(refs, context);
    const recorded = refs.filter((_, index) => isRecorded(statuses[index]));
    await this.#arrays.ended(
      recorded.map(({ token }) => token),
      context,
    );
    return statuses;
  }

  async stop(
    refs: readonly AttemptRef[],
    how: { readonly graceMs: number; readonly reason: string },
    context: CallContext,
  ): Promise<readonly StopResult[]> {
    await failpoint("batch.before-stop");
    const statuses = await this.statuses(refs, context);
    const results = await stopEach(refs, statuses, (ref, status) => this.#stop(ref, status, context));
    context.log.debug({ results, reason: how.reason }, "cancel of batch jobs");
    await failpoint("batch.after-stop");
    return results;
  }

  watch(onChange: (token: Token) => void): Disposable {
    return this.#listeners.add(onChange);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#attempts[Symbol.dispose]();
  }

  /** What an earlier launch of the same token came to; undefined = it is to be submitted now. */
  async #launchedBefore(plan: AttemptPlan, context: CallContext): Promise<LaunchResult | undefined> {
    const problems = [...planProblems(plan), ...limitProblems(plan, this.#options.limits, "the target")];
    if (plan.runtime === "pty") problems.push("runtime 'pty' cannot run as a batch job");
    if (problems.length > 0) return refuse("launch", problems.join("; "));
    const { host } = this.#options;
    const names = (await host.files.list(plan.directory, context)) ?? [];
    if (names.includes("stop")) return refuse("infrastructure", "it was stopped before anything ran");
    const own = names.includes(submissionFile) ? await readSubmission(host, plan.directory, context) : undefined;
    const submission = later(own, await this.#arrays.of(plan.token, context));
    if (!submission) return overBy(names);
    const found = await this.#submissions.find(submission, context);
    switch (found.state) {
      case "found":
        return { state: "accepted", handle: makeHandle(found.job) };
      case "unknown":
        return { state: "unknown", why: found.why };
      case "absent":
        // Others may have been tasks of the same array.
        if (submission.token === plan.token) this.#submissions.forget(submission.token);
        return overBy(names);
    }
  }

  /** Whom to ask the scheduler for: from the handle, else by what was written before the submission. */
  async #learnJob(ref: AttemptRef, context: CallContext): Promise<void> {
    if (this.#attempts.knows(ref.token)) return;
    if (jobOf(ref)) return this.#take(ref);
    const submission = await this.#submissionOf(ref, context);
    const found = submission ? await this.#submissions.find(submission, context) : ({ state: "absent" } as const);
    if (found.state === "found") this.#attempts.take(ref, found.job);
    else if (found.state === "absent")
      this.#attempts.take(ref, (await this.#hasBegun(ref, context)) ? "over" : undefined);
  }

  /** What was written before its last submission, also by an earlier agent. */
  async #submissionOf(ref: AttemptRef, context: CallContext): Promise<Submission | undefined> {
    const [own, array] = await Promise.all([
      readSubmission(this.#options.host, ref.directory, context),
      this.#arrays.certainly(ref.token, context),
    ]);
    return later(own, array);
  }

  async #hasBegun({ directory }: AttemptRef, context: CallContext): Promise<boolean> {
    return hasBegun((await this.#options.host.files.list(directory, context)) ?? []);
  }

  #take({ token, directory, handle }: AttemptRef): void {
    this.#attempts.take({ token, directory, handle }, jobOf({ token, directory, handle }));
  }

  async #stop(ref: AttemptRef, status: AttemptStatus | undefined, context: CallContext): Promise<StopResult> {
    if (status?.state === "ended") return { state: "gone", tier: status.tier };
    const { host, queue } = this.#options;
    if (status?.state === "absent") {
      if (await takeGuard(host, ref.directory, context)) return { state: "gone", tier: "never-started" };
      return { state: "stopping" };
    }
    const job = this.#attempts.jobOf(ref.token);
    if (!job) return { state: "unknown", why: "it is not known whether the scheduler has it" };
    this.#attempts.order(ref.token);
    // What waits in the queue never begins; what began records that its end was ordered.
    if (status?.state === "queued") await takeGuard(host, ref.directory, context);
    else await markStopped(host, ref.directory, context);
    await failpoint("batch.after-mark");
    const [result] = await queue.cancel([job], context);
    if (result?.state === "requested" || result?.state === "over") return { state: "stopping" };
    return { state: "unknown", why: result?.state === "refused" ? result.reason : (result?.why ?? "no answer") };
  }
}

function later(one: Submission | undefined, other: Submission | undefined): Submission | undefined {
  if (!one || !other) return one ?? other;
  return one.at > other.at ? one : other;
}

/** It was submitted, although neither the scheduler nor a note knows it any more: it is not submitted again. */
function overBy(names: readonly string[]): LaunchResult | undefined {
  return hasBegun(names) ? { state: "accepted", handle: overHandle } : undefined;
}

/** Its recorder took the guard: one with our order beside it and no recorder is ours (places.ts, `takeGuard`). */
function hasBegun(names: readonly string[]): boolean {
  return names.includes("rc") || names.includes("recorder") || (names.includes("started") && !names.includes("stop"));
}

/** Its exit record tells how it ended; it needs no note any more. */
function isRecorded(status: AttemptStatus | undefined): boolean {
  return status?.state === "ended" && status.end.evidence === "rc";
}

/** A handle that this version cannot read costs a search: the directory says what was submitted. */
function jobOf(ref: AttemptRef): ScheduledJob | "over" | undefined {
  const { data } = handleSchema.safeParse(ref.handle?.data);
  return data && ("job" in data ? data.job : "over");
}
