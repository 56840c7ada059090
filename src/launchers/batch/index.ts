import { join } from "node:path";
import PQueue from "p-queue";
import { z } from "zod";
import type { Handle, Probe } from "../../common/adapter.ts";
import { isoTime } from "../../common/clock.ts";
import type { CallContext } from "../../common/context.ts";
import { failpoint } from "../../common/failpoint.ts";
import { asFault, Fault } from "../../common/fault.ts";
import { newToken, type Token } from "../../common/token.ts";
import type { Host } from "../../hosts/types.ts";
import type { AttemptLimits } from "../../jobs/resources.ts";
import { shellPlan } from "../../runner/plan-files.ts";
import { inChunks } from "../../common/chunks.ts";
import type { ScheduledJob, SubmitResult } from "../../schedulers/types.ts";
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
import { Attempts } from "./attempts.ts";
import { scheduledJobSchema } from "./job-schema.ts";
import type { Patience } from "./judge.ts";
import { markStopped, placeProgram, readSubmission, takeGuard, writeSubmission } from "./places.ts";
import type { SchedulerQueue } from "./queue.ts";
import { askedWalltimeS, requestOf, type RequestOptions } from "./request.ts";
import { apartMs, Submissions } from "./submissions.ts";

export interface BatchLauncherOptions extends RequestOptions {
  /** Where the scheduler's commands run and, on a file system that its nodes share, the work directories lie. */
  readonly host: Host;
  /** Shared by all launchers of the same scheduler on the same host. */
  readonly queue: SchedulerQueue;
  /** What one attempt can have: more is refused before anything is submitted. */
  readonly limits: AttemptLimits;
  /** Alike attempts that are ready together go as one array. */
  readonly arrays: boolean;
  readonly patience: Patience;
  /** How long after an unclear submission the scheduler's silence proves that nothing was accepted; milliseconds. */
  readonly settleMs: number;
  /** How often an attempt's directory is looked at where no watch tells of changes, milliseconds. */
  readonly lookMs: number;
  /** Exit codes in which this scheduler reads a meaning of its own. */
  readonly reservedCodes: readonly number[];
}

const handleSchema = z.object({ job: scheduledJobSchema });

/** Scripts of arrays name all their directories: this many keep them well below what schedulers take (Slurm: 4 MiB). */
const mostTasks = 1_000;

/** Submissions that go to the scheduler together. */
const mostTogether = 16;
/** Timers may be early by a millisecond. */
const timerSlackMs = 10;

/** So many times that are prepared or under way. */
const mostAhead = 2;

/** Starts each attempt as a job of a batch scheduler, and follows it by its own evidence and the scheduler's word. */
export function createBatchLauncher(options: BatchLauncherOptions): Launcher {
  return new BatchLauncher(options);
}

/** What goes as one scheduler job. */
type Group = readonly [AttemptPlan, ...AttemptPlan[]];

class BatchLauncher implements Launcher {
  readonly kind = "batch";
  readonly capabilities: LauncherCapabilities = { runtimes: ["plain"], tier: "scheduler", attach: false };
  readonly #options: BatchLauncherOptions;
  readonly #attempts: Attempts;
  readonly #submissions: Submissions;
  readonly #listeners = new Listeners();
  #recorder: Promise<string> | undefined;

  constructor(options: BatchLauncherOptions) {
    this.#options = options;
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
    // Notes are written while other submissions are under way, but not far ahead: after a crash each without a job costs a search.
    const ahead = new PQueue({ concurrency: mostAhead });
    await ahead.addAll(
      inChunks(this.#groups(fresh), mostTogether).map((groups) => async () => {
        for (const [plan, result] of await this.#trySubmit(groups, context)) results.set(plan, result);
      }),
    );
    await failpoint("batch.after-launch");
    return plans.map((plan) => results.get(plan) ?? { state: "unknown", why: "no answer" });
  }

  async find(refs: readonly AttemptRef[], context: CallContext): Promise<readonly (Handle | undefined)[]> {
    return Promise.all(
      refs.map(async (ref) => {
        if (jobOf(ref)) return ref.handle;
        const submission = await readSubmission(this.#options.host, ref.directory, context);
        if (!submission) return undefined;
        let found = await this.#submissions.find(submission, context);
        // After a restart the second look is all that is missing: nobody need come again for it, each time later than before.
        if (found.state === "unknown" && (found.againMs ?? Infinity) <= apartMs) {
          await context.clock.sleep((found.againMs ?? 0) + timerSlackMs, context.signal);
          found = await this.#submissions.find(submission, context);
        }
        if (found.state === "unknown") throw new Fault("UNREACHABLE", found.why);
        return found.state === "found" ? makeHandle(found.job) : undefined;
      }),
    );
  }

  async statuses(refs: readonly AttemptRef[], context: CallContext): Promise<readonly AttemptStatus[]> {
    await Promise.all(refs.map((ref) => this.#learnJob(ref, context)));
    return this.#attempts.statuses(refs, context);
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
    if ((await host.files.stat(join(plan.directory, "stop"), context)) !== undefined)
      return refuse("infrastructure", "it was stopped before anything ran");
    const submission = await readSubmission(host, plan.directory, context);
    if (!submission) return undefined;
    const found = await this.#submissions.find(submission, context);
    switch (found.state) {
      case "found":
        return { state: "accepted", handle: makeHandle(found.job) };
      case "unknown":
        return { state: "unknown", why: found.why };
      case "absent":
        this.#submissions.forget(submission.token);
        return undefined;
    }
  }

  /** Alike plans together where arrays are wanted and there are; else each by itself. */
  #groups(plans: readonly AttemptPlan[]): readonly Group[] {
    const { arrays, queue } = this.#options;
    const { capabilities } = queue.scheduler;
    const most = arrays && capabilities.arrays ? Math.min(mostTasks, capabilities.mostTasks) : 1;
    const open = new Map<string, [AttemptPlan, ...AttemptPlan[]]>();
    const groups: [AttemptPlan, ...AttemptPlan[]][] = [];
    for (const plan of plans) {
      const key = JSON.stringify([
        plan.resources,
        askedWalltimeS(plan, this.#options.walltimeMarginMs),
        plan.environment["PATH"],
      ]);
      const group = open.get(key);
      if (group && group.length < most) {
        group.push(plan);
        continue;
      }
      const begun: [AttemptPlan, ...AttemptPlan[]] = [plan];
      open.set(key, begun);
      groups.push(begun);
    }
    return groups;
  }

  /** Groups that could not be asked for cost the others nothing. */
  async #trySubmit(
    groups: readonly Group[],
    context: CallContext,
  ): Promise<readonly (readonly [AttemptPlan, LaunchResult])[]> {
    try {
      return await this.#submit(groups, context);
    } catch (error) {
      const why = asFault(error).message;
      return groups.flat().map((plan) => [plan, { state: "unknown", why }] as const);
    }
  }

  async #submit(
    groups: readonly Group[],
    context: CallContext,
  ): Promise<readonly (readonly [AttemptPlan, LaunchResult])[]> {
    const { host, queue } = this.#options;
    const at = isoTime(context.clock.now());
    const recorder = await this.#placedRecorder(context);
    const asked = groups.map((plans) => {
      const token = plans.length === 1 ? plans[0].token : newToken();
      const tasks = plans.map((plan, index) => ({ plan, place: plans.length === 1 ? {} : { task: index } }));
      return { tasks, token, request: requestOf(plans, token, recorder, this.#options) };
    });
    await Promise.all(groups.flat().map((plan) => this.#writePlan(plan, context)));
    await failpoint("batch.before-intent");
    await Promise.all(
      asked.flatMap(({ tasks, token }) =>
        tasks.map(({ plan, place }) => writeSubmission(host, plan.directory, { token, at, ...place }, context)),
      ),
    );
    await failpoint("batch.after-intent");
    const results = await queue.submit(
      asked.map(({ request }) => request),
      context,
    );
    await failpoint("batch.after-submit");
    const answers = asked.map(async ({ tasks }, index) => {
      const result = results[index];
      // Certain that nothing was accepted: the next launch need not look for it.
      if (result?.state === "limited" || result?.state === "rejected")
        await Promise.all(tasks.map(({ plan }) => host.files.remove(join(plan.directory, "submission"), context)));
      return tasks.map(({ plan, place }) => {
        const answer = launched(result, { ...place, submittedAt: at });
        if (answer.state === "accepted") this.#take({ ...plan, handle: answer.handle });
        return [plan, answer] as const;
      });
    });
    return (await Promise.all(answers)).flat();
  }

  async #placedRecorder(context: CallContext): Promise<string> {
    this.#recorder ??= placeProgram(this.#options.host, "recorder.sh", context);
    try {
      return await this.#recorder;
    } catch (error) {
      this.#recorder = undefined;
      throw error;
    }
  }

  async #writePlan(plan: AttemptPlan, context: CallContext): Promise<void> {
    const text = shellPlan(
      { ...plan, cgroup: undefined, openFiles: undefined },
      { reservedCodes: this.#options.reservedCodes },
    );
    await this.#options.host.files.write(join(plan.directory, "plan.sh"), text, { mode: 0o600 }, context);
  }

  /** Whom to ask the scheduler for: from the handle, else by what was written before the submission. */
  async #learnJob(ref: AttemptRef, context: CallContext): Promise<void> {
    if (this.#attempts.knows(ref.token)) return;
    if (jobOf(ref)) return this.#take(ref);
    const submission = await readSubmission(this.#options.host, ref.directory, context);
    if (!submission) return this.#attempts.take(ref, undefined);
    const found = await this.#submissions.find(submission, context);
    if (found.state === "found") this.#attempts.take(ref, found.job);
    else if (found.state === "absent") this.#attempts.take(ref, undefined);
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

function launched(
  result: SubmitResult | undefined,
  place: { readonly task?: number; readonly submittedAt: string },
): LaunchResult {
  switch (result?.state) {
    case "submitted":
      return { state: "accepted", handle: makeHandle({ ...result.job, ...place }) };
    case "rejected":
      return refuse("launch", `the scheduler refused it: ${result.reason}`);
    case "limited":
      return { state: "busy", reason: result.reason };
    case "unclear":
      return { state: "unknown", why: result.why };
    case undefined:
      return { state: "unknown", why: "no answer" };
  }
}

function makeHandle(job: ScheduledJob): Handle {
  // The round trip drops what is undefined: a handle is plain JSON.
  return { adapter: "batch", version: 1, data: JSON.parse(JSON.stringify({ job })) };
}

/** A handle that this version cannot read costs a search: the directory says what was submitted. */
function jobOf(ref: AttemptRef): ScheduledJob | undefined {
  const data = handleSchema.safeParse(ref.handle?.data);
  return data.success ? data.data.job : undefined;
}
