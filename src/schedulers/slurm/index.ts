import type { Probe } from "../../common/adapter.ts";
import type { CallContext } from "../../common/context.ts";
import { asFault, isFault } from "../../common/fault.ts";
import type { Token } from "../../common/token.ts";
import type {
  FindResult,
  OrderResult,
  ScheduledJob,
  ScheduledStatus,
  Scheduler,
  SchedulerCapabilities,
  SchedulerOptions,
  SubmitRequest,
  SubmitResult,
} from "../types.ts";
import type { BundledCommand, Rejection } from "../bundle.ts";
import { Asks } from "./asks.ts";
import { findTokens } from "./find.ts";
import { giveOrders } from "./orders.ts";
import { renderSlurm } from "./render.ts";
import { sbatch, type SbatchAnswer } from "./sbatch.ts";
import { atLeast, exportsNothing } from "./show-config.ts";
import { statusesOf } from "./statuses.ts";

/** squeue --me, and fields that are printed in full. */
const oldest = [20, 2] as const;
/** Ended jobs have to stay longer than the time between two looks, or the queue is no history. */
const shortestHistoryS = 60;

/** Slurm, from 20.02 on. */
export function createSlurm(options: SchedulerOptions): Scheduler {
  return new Slurm(options);
}

class Slurm implements Scheduler {
  readonly kind = "slurm";
  readonly #asks: Asks;

  constructor(options: SchedulerOptions) {
    this.#asks = new Asks(options);
  }

  get capabilities(): SchedulerCapabilities {
    const facts = this.#asks.facts;
    if (facts === undefined) return { arrays: false, mostTasks: 1, history: "none" };
    const mostTasks = Math.max(1, facts.mostTasks);
    const queue = facts.minJobAgeS >= shortestHistoryS ? "queue" : "none";
    return { arrays: mostTasks > 1, mostTasks, history: facts.accounting ? "accounting" : queue };
  }

  async probe(context: CallContext): Promise<Probe> {
    try {
      const answer = await this.#asks.learn(context);
      if (answer.state === "unknown") return { ok: false, reason: answer.why };
      const { version, cluster } = answer.facts;
      if (!atLeast(version, ...oldest)) {
        return { ok: false, reason: `Slurm ${version} is too old, at least ${oldest.join(".0")} is needed` };
      }
      const queue = await this.#asks.queue(this.#asks.cluster, context);
      if (queue.state === "unknown") return { ok: false, reason: queue.why };
      return { ok: true, version: `Slurm ${version}, cluster ${cluster}`, notes: [historyNote(this.capabilities)] };
    } catch (error) {
      const { message, hint } = asFault(error);
      return { ok: false, reason: message, ...(hint === undefined ? {} : { hint }) };
    }
  }

  render(request: SubmitRequest): string {
    return renderSlurm(request);
  }

  async submit(requests: readonly SubmitRequest[], context: CallContext): Promise<readonly SubmitResult[]> {
    if (requests.length === 0) return [];
    const learned = await this.#asks.known(context);
    if (learned.state === "unknown") {
      const reason = `nothing was submitted: ${learned.why}`;
      return requests.map(() => ({ state: "limited", reason }));
    }
    const exportNothing = atLeast(learned.facts.version, ...exportsNothing);
    const prepared = requests.map((request) => this.#commandOf(request, exportNothing));
    const commands = prepared.flatMap((one) => ("argv" in one ? [one] : []));
    const submittedAt = new Date(context.clock.now()).toISOString();
    const answers = (await this.#asks.submitAll(commands, context)).values();
    return await Promise.all(
      requests.map(async ({ token }, index): Promise<SubmitResult> => {
        const one = prepared[index];
        if (one && !("argv" in one)) return one;
        return await this.#resultOf(token, submittedAt, answers.next().value, context);
      }),
    );
  }

  #commandOf(request: SubmitRequest, exportNothing: boolean): BundledCommand<SbatchAnswer> | Rejection {
    try {
      return sbatch({ cluster: this.#asks.cluster, script: renderSlurm(request), exportNothing });
    } catch (error) {
      if (isFault(error, "INVALID")) return { state: "rejected", reason: error.message };
      throw error;
    }
  }

  async #resultOf(
    token: Token,
    submittedAt: string,
    answer: SbatchAnswer | undefined,
    context: CallContext,
  ): Promise<SubmitResult> {
    if (answer === undefined) return { state: "unclear", why: "no answer" };
    if (answer.state === "submitted") {
      const { id, cluster } = answer;
      const job = { id, ...(cluster === undefined ? {} : { cluster }), ...this.#asks.origin, token, submittedAt };
      return { state: "submitted", job };
    }
    if (answer.state !== "printed") return answer;
    const queue = await this.#asks.queue(this.#asks.cluster, context);
    const ids = queue.state === "answered" ? queue.rows.filter((row) => row.token === token).map(({ id }) => id) : [];
    const [id, ...others] = new Set(ids);
    if (id === undefined || others.length > 0) return { state: "unclear", why: answer.why };
    return { state: "submitted", job: { id, ...this.#clusterField(), ...this.#asks.origin, token, submittedAt } };
  }

  async find(
    wanted: readonly { readonly token: Token; readonly since: string }[],
    context: CallContext,
  ): Promise<readonly FindResult[]> {
    return wanted.length === 0 ? [] : await findTokens(this.#asks, wanted, context);
  }

  statuses(jobs: readonly ScheduledJob[], context: CallContext): Promise<readonly ScheduledStatus[]> {
    return this.#byCluster(jobs, (cluster, some) => statusesOf(this.#asks, cluster, some, context));
  }

  cancel(jobs: readonly ScheduledJob[], context: CallContext): Promise<readonly OrderResult[]> {
    return this.#byCluster(jobs, (cluster, some) => giveOrders(this.#asks, "cancel", cluster, some, context));
  }

  hold(jobs: readonly ScheduledJob[], context: CallContext): Promise<readonly OrderResult[]> {
    return this.#byCluster(jobs, (cluster, some) => giveOrders(this.#asks, "hold", cluster, some, context));
  }

  release(jobs: readonly ScheduledJob[], context: CallContext): Promise<readonly OrderResult[]> {
    return this.#byCluster(jobs, (cluster, some) => giveOrders(this.#asks, "release", cluster, some, context));
  }

  /** Results in the order of the jobs, each cluster asked for its own. */
  async #byCluster<Result extends { readonly state: string }>(
    jobs: readonly ScheduledJob[],
    ask: (cluster: string | undefined, jobs: readonly ScheduledJob[]) => Promise<readonly Result[]>,
  ): Promise<readonly Result[]> {
    const groups = Map.groupBy(jobs.entries(), ([, job]) => job.cluster ?? this.#asks.cluster);
    const results: Result[] = [];
    for (const [cluster, group] of groups) {
      const some = group.map(([, job]) => job);
      let answers = await ask(cluster, some);
      // Its name may have gone out of use, as clusters are renamed and merged. Whoever has the job under its token is asked then; absence says nothing.
      if (cluster !== this.#asks.cluster && answers.every(({ state }) => state === "unknown")) {
        const here = await ask(this.#asks.cluster, some);
        answers = answers.map((answer, place) => (isPositive(here[place]) ? here[place] : answer));
      }
      for (const [place, [index]] of group.entries()) {
        const answer = answers[place];
        if (answer !== undefined) results[index] = answer;
      }
    }
    return results;
  }

  #clusterField(): { readonly cluster?: string } {
    return this.#asks.cluster === undefined ? {} : { cluster: this.#asks.cluster };
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** Tells that the job is there, or was. */
function isPositive<Result extends { readonly state: string }>(answer: Result | undefined): answer is Result {
  return ["queued", "running", "finishing", "ended", "requested"].includes(answer?.state ?? "");
}

function historyNote({ history }: SchedulerCapabilities): string {
  if (history === "accounting") return "ends are confirmed by accounting";
  return history === "queue"
    ? "no accounting: how a job ended is told while the queue still has it"
    : "no accounting, and ended jobs leave the queue at once: exit records alone tell how jobs ended";
}
