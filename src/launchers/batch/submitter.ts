import { join } from "node:path";
import PQueue from "p-queue";
import type { Handle } from "../../common/adapter.ts";
import { inChunks } from "../../common/chunks.ts";
import { isoTime } from "../../common/clock.ts";
import type { CallContext } from "../../common/context.ts";
import { failpoint } from "../../common/failpoint.ts";
import { asFault } from "../../common/fault.ts";
import { newToken, type Token } from "../../common/token.ts";
import type { Host } from "../../hosts/types.ts";
import { shellPlan } from "../../runner/plan-files.ts";
import type { ScheduledJob, SubmitResult } from "../../schedulers/types.ts";
import { refuse } from "../refusal.ts";
import type { AttemptPlan, LaunchResult } from "../types.ts";
import type { Arrays } from "./arrays.ts";
import { placeProgram, submissionFile, writeSubmission } from "./places.ts";
import type { SchedulerQueue } from "./queue.ts";
import { askedWalltimeS, requestOf, type RequestOptions } from "./request.ts";

export interface SubmitterOptions extends RequestOptions {
  /** Where the scheduler's commands run and, on a file system that its nodes share, the work directories lie. */
  readonly host: Host;
  /** Shared by all launchers of the same scheduler on the same host. */
  readonly queue: SchedulerQueue;
  /** Alike attempts that are ready together go as one array. */
  readonly arrays: boolean;
  /** Exit codes in which this scheduler reads a meaning of its own. */
  readonly reservedCodes: readonly number[];
}

/** Tasks of one array: their plans are one file that each of them reads a part of. */
const mostTasks = 1_000;
/** Submissions that go to the scheduler together. */
const mostTogether = 16;
/** So many times that are prepared or under way. */
const mostAhead = 2;

/** What goes as one scheduler job. */
interface Group {
  readonly token: Token;
  readonly plans: readonly [AttemptPlan, ...AttemptPlan[]];
}

type Answer = readonly [AttemptPlan, LaunchResult];

/** Hands attempts to the scheduler: written down first, so that no crash in between leads to a second submission. */
export class Submitter {
  readonly #options: SubmitterOptions;
  readonly #arrays: Arrays;
  #recorder: Promise<string> | undefined;

  constructor(options: SubmitterOptions, arrays: Arrays) {
    this.#options = options;
    this.#arrays = arrays;
  }

  /** Of attempts that were not submitted before; one that cannot be asked for costs the others nothing. */
  async submit(plans: readonly AttemptPlan[], context: CallContext): Promise<readonly Answer[]> {
    const answers: Answer[] = [];
    // Notes are written while other submissions are under way, but not far ahead: after a crash each without a job costs a search.
    const ahead = new PQueue({ concurrency: mostAhead });
    await ahead.addAll(
      inChunks(this.#groups(plans), mostTogether).map((groups) => async () => {
        answers.push(...(await this.#trySubmit(groups, context)));
      }),
    );
    return answers;
  }

  /** Alike plans together where arrays are wanted and there are; else each by itself. */
  #groups(plans: readonly AttemptPlan[]): readonly Group[] {
    const { arrays, queue } = this.#options;
    const { capabilities } = queue.scheduler;
    const most = arrays && capabilities.arrays ? Math.min(mostTasks, capabilities.mostTasks) : 1;
    const alike = Map.groupBy(plans, (plan) =>
      JSON.stringify([plan.resources, askedWalltimeS(plan, this.#options.walltimeMarginMs), plan.environment["PATH"]]),
    );
    return [...alike.values()].flatMap((some) =>
      inChunks(some, most).flatMap(([first, ...others]) => {
        if (!first) return [];
        return [{ token: others.length === 0 ? first.token : newToken(), plans: [first, ...others] } as const];
      }),
    );
  }

  async #trySubmit(groups: readonly Group[], context: CallContext): Promise<readonly Answer[]> {
    try {
      return await this.#submit(groups, context);
    } catch (error) {
      const why = asFault(error).message;
      return groups.flatMap(({ plans }) => plans.map((plan) => [plan, { state: "unknown", why }] as const));
    }
  }

  async #submit(groups: readonly Group[], context: CallContext): Promise<readonly Answer[]> {
    const at = isoTime(context.clock.now());
    const recorder = await this.#placedRecorder(context);
    const { host, queue } = this.#options;
    const requests = groups.map(({ plans, token }) =>
      requestOf(plans, { token, at }, recorder, host.workdir, this.#options),
    );
    await Promise.all(groups.map((group) => this.#writePlan(group, context)));
    await failpoint("batch.before-intent");
    await Promise.all(groups.map((group) => this.#writeIntent(group, at, context)));
    await failpoint("batch.after-intent");
    const results = await queue.submit(requests, context);
    await failpoint("batch.after-submit");
    const answers = groups.map(async (group, index) => {
      const result = results[index];
      // Certain that nothing was accepted: the next launch need not look for it.
      if (result?.state === "limited" || result?.state === "rejected") await this.#removeIntent(group, context);
      const isArray = group.plans.length > 1;
      return group.plans.map((plan, task) => {
        return [plan, launched(result, { ...(isArray ? { task } : {}), submittedAt: at })] as const;
      });
    });
    return (await Promise.all(answers)).flat();
  }

  /** Those of an array stand in its note. */
  async #writePlan({ plans }: Group, context: CallContext): Promise<void> {
    const [plan, ...others] = plans;
    if (others.length > 0) return;
    await this.#options.host.files.write(join(plan.directory, "plan.sh"), this.#planOf(plan), { mode: 0o600 }, context);
  }

  async #writeIntent({ plans, token }: Group, at: string, context: CallContext): Promise<void> {
    const [plan, ...others] = plans;
    if (others.length === 0) return await writeSubmission(this.#options.host, plan.directory, { token, at }, context);
    const tasks = plans.map((each) => ({ token: each.token, directory: each.directory, plan: this.#planOf(each) }));
    await this.#arrays.write(token, at, tasks, context);
  }

  async #removeIntent({ plans, token }: Group, context: CallContext): Promise<void> {
    const [plan, ...others] = plans;
    if (others.length > 0) await this.#arrays.remove(token, context);
    else await this.#options.host.files.remove(join(plan.directory, submissionFile), context);
  }

  #planOf(plan: AttemptPlan): string {
    return shellPlan(
      { ...plan, cgroup: undefined, openFiles: undefined },
      { reservedCodes: this.#options.reservedCodes },
    );
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

export function makeHandle(job: ScheduledJob): Handle {
  // The round trip drops what is undefined: a handle is plain JSON.
  return { adapter: "batch", version: 1, data: JSON.parse(JSON.stringify({ job })) };
}
