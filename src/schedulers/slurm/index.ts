import type { Probe } from "../../common/adapter.ts";
import type { CallContext } from "../../common/context.ts";
import { asFault, isFault } from "../../common/fault.ts";
import type { Token } from "../../common/token.ts";
import type { Host } from "../../hosts/types.ts";
import { runCommand } from "../command.ts";
import { commandEnvironment } from "../environment.ts";
import { SharedAsk } from "../shared-ask.ts";
import { inChunks } from "../text.ts";
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
import { type History, askHistory } from "./history.ts";
import { notBefore, Rows } from "./identity.ts";
import { isJobId, operandOf } from "./ids.ts";
import { scancel, scontrolOrder } from "./orders.ts";
import { renderSlurm } from "./render.ts";
import { type AccountingAnswer, type AccountingQuestion, sacct } from "./sacct.ts";
import { sbatch } from "./sbatch.ts";
import { atLeast, type FactsAnswer, showConfig, type SlurmFacts } from "./show-config.ts";
import { type QueueAnswer, type QueueRow, squeue } from "./squeue.ts";
import { meaningOf } from "./states.ts";
import { accountingStatus, iso, queueStatus, wholeStatus } from "./status.ts";

/** What locates the cluster, and the way to authenticate where there is no munge. */
const locating = ["SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT"];
/** squeue --me, and fields that are printed in full. */
const oldest = [20, 2] as const;
/** The first that knows --export=NIL. */
const exportsNothing = [23, 2, 3] as const;
/** Operands of one command that changes jobs. */
const mostOperands = 200;
/** Ended jobs have to stay longer than the time between two looks, or the queue is no history. */
const shortestHistoryS = 60;

type Verb = "cancel" | "hold" | "release";

/** Slurm, from 20.02 on. */
export function createSlurm(options: SchedulerOptions): Scheduler {
  return new Slurm(options);
}

class Slurm implements Scheduler {
  readonly kind = "slurm";
  readonly #host: Host;
  readonly #environment: Readonly<Record<string, string>>;
  /** The cluster that all commands are for; undefined: the one of slurm.conf. */
  readonly #cluster: string | undefined;
  readonly #queues = new Map<string | undefined, SharedAsk<QueueAnswer>>();
  #facts: SlurmFacts | undefined;

  constructor({ host, environment }: SchedulerOptions) {
    this.#host = host;
    const { SLURM_CLUSTERS: cluster, ...rest } = commandEnvironment(environment, locating);
    this.#environment = rest;
    this.#cluster = cluster;
  }

  get capabilities(): SchedulerCapabilities {
    const facts = this.#facts;
    if (facts === undefined) return { arrays: false, mostTasks: 1, history: "none" };
    const mostTasks = Math.max(1, facts.mostTasks);
    const queue = facts.minJobAgeS >= shortestHistoryS ? "queue" : "none";
    return { arrays: mostTasks > 1, mostTasks, history: facts.accounting ? "accounting" : queue };
  }

  async probe(context: CallContext): Promise<Probe> {
    try {
      const answer = await this.#learn(context);
      if (answer.state === "unknown") return { ok: false, reason: answer.why };
      const { version, cluster } = answer.facts;
      if (!atLeast(version, ...oldest)) {
        return { ok: false, reason: `Slurm ${version} is too old, at least ${oldest.join(".0")} is needed` };
      }
      const queue = await this.#queue(this.#cluster, context);
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
    const learned = await this.#known(context);
    if (learned.state === "unknown") {
      const reason = `nothing was submitted: ${learned.why}`;
      return requests.map(() => ({ state: "limited", reason }));
    }
    const exportNothing = atLeast(learned.facts.version, ...exportsNothing);
    const results: SubmitResult[] = [];
    // One after the other: the controller limits requests per account, and a crash leaves at most one that is unclear.
    for (const request of requests) {
      try {
        results.push(await this.#submitOne(request, exportNothing, context));
      } catch (error) {
        if (results.length === 0) throw error;
        results.push({ state: "unclear", why: asFault(error).message });
        const reason = `nothing was submitted: ${asFault(error).message}`;
        while (results.length < requests.length) results.push({ state: "limited", reason });
        break;
      }
    }
    return results;
  }

  async #submitOne(request: SubmitRequest, exportNothing: boolean, context: CallContext): Promise<SubmitResult> {
    const { token } = request;
    let script: string;
    try {
      script = renderSlurm(request);
    } catch (error) {
      if (isFault(error, "INVALID")) return { state: "rejected", reason: error.message };
      throw error;
    }
    const submittedAt = new Date(context.clock.now()).toISOString();
    const answer = await this.#run(sbatch({ cluster: this.#cluster, script, exportNothing }), context);
    if (answer.state === "submitted") {
      const { id, cluster } = answer;
      return { state: "submitted", job: { id, ...(cluster === undefined ? {} : { cluster }), token, submittedAt } };
    }
    if (answer.state !== "printed") return answer;
    const queue = await this.#queue(this.#cluster, context);
    const ids = queue.state === "answered" ? queue.rows.filter((row) => row.token === token).map(({ id }) => id) : [];
    const [id, ...others] = new Set(ids);
    if (id === undefined || others.length > 0) return { state: "unclear", why: answer.why };
    return { state: "submitted", job: { id, ...this.#clusterField(), token, submittedAt } };
  }

  async find(
    wanted: readonly { readonly token: Token; readonly since: string }[],
    context: CallContext,
  ): Promise<readonly FindResult[]> {
    if (wanted.length === 0) return [];
    const queue = await this.#queue(this.#cluster, context);
    if (queue.state === "unknown") return wanted.map(() => queue);
    const since = earliest(
      wanted.map((each) => each.since),
      context,
    );
    const tokens = wanted.map(({ token }) => token);
    const history = await this.#history(tokens, (names) => ({ cluster: this.#cluster, since, by: { names } }), context);
    const found = new Map<Token, Map<string, number>>();
    for (const { token, id, submitted } of [...queue.rows, ...history.rows]) {
      const jobs = found.get(token) ?? new Map<string, number>();
      jobs.set(id, Math.min(jobs.get(id) ?? Infinity, submitted ?? Infinity));
      found.set(token, jobs);
    }
    return wanted.map(({ token, since: from }) => {
      const bound = notBefore(from);
      const jobs = [...(found.get(token) ?? [])].filter(([, submitted]) => submitted >= bound);
      jobs.sort(([oneId, one], [otherId, other]) => one - other || Number(oneId) - Number(otherId));
      const [first, ...more] = jobs.map(([id, submitted]) => this.#foundJob(id, token, submitted, from));
      if (first) return { state: "found", jobs: [first, ...more] };
      const why = queue.incomplete ?? history.unknown.get(token);
      return why === undefined ? { state: "absent" } : { state: "unknown", why };
    });
  }

  #foundJob(id: string, token: Token, submitted: number, since: string): ScheduledJob {
    const submittedAt = Number.isFinite(submitted) ? iso(submitted) : since;
    return { id, ...this.#clusterField(), token, submittedAt };
  }

  async statuses(jobs: readonly ScheduledJob[], context: CallContext): Promise<readonly ScheduledStatus[]> {
    return await this.#byCluster(jobs, (cluster, some) => this.#statusesOf(cluster, some, context));
  }

  async #statusesOf(
    cluster: string | undefined,
    jobs: readonly ScheduledJob[],
    context: CallContext,
  ): Promise<readonly ScheduledStatus[]> {
    const learned = await this.#known(context);
    if (learned.state === "unknown") return jobs.map(() => learned);
    const queue = await this.#queue(cluster, context);
    if (queue.state === "unknown") return jobs.map(() => queue);
    const listed = new Rows(queue.rows);
    const waiting = jobs.map((job) => listed.of(job).map(queueStatus));
    // Accounting knows of an end what the queue does not: who cancelled it, its steps. What is under way it is not asked for.
    const others = jobs.filter((_, index) => waiting[index]?.every(({ state }) => state === "ended"));
    const since = earliest(
      others.map(({ submittedAt }) => submittedAt),
      context,
    );
    const ids = others.map(({ id }) => id).filter(isJobId);
    const history = await this.#history(ids, (some) => ({ cluster, since, by: { ids: some } }), context);
    const recorded = new Rows(history.rows);
    return jobs.map((job, index): ScheduledStatus => {
      if (!isJobId(job.id)) return { state: "unknown", why: `'${job.id}' is no job id of Slurm` };
      const inQueue = waiting[index] ?? [];
      if (inQueue.some(({ state }) => state !== "ended")) return wholeStatus(inQueue);
      const records = recorded.of(job);
      const ends = records.map(accountingStatus).filter((status) => status !== undefined);
      if (ends.length > 0 && ends.length === records.length) return wholeStatus(ends);
      if (inQueue.length > 0) return wholeStatus(inQueue);
      const why = queue.incomplete ?? history.unknown.get(job.id);
      if (why !== undefined) return { state: "unknown", why };
      const [open] = records.filter((row) => meaningOf(row.state).as !== "ended");
      if (open === undefined) return { state: "absent" };
      return { state: "unknown", why: `accounting says ${open.state}, and the queue does not have it` };
    });
  }

  cancel(jobs: readonly ScheduledJob[], context: CallContext): Promise<readonly OrderResult[]> {
    return this.#order("cancel", jobs, context);
  }

  hold(jobs: readonly ScheduledJob[], context: CallContext): Promise<readonly OrderResult[]> {
    return this.#order("hold", jobs, context);
  }

  release(jobs: readonly ScheduledJob[], context: CallContext): Promise<readonly OrderResult[]> {
    return this.#order("release", jobs, context);
  }

  async #order(verb: Verb, jobs: readonly ScheduledJob[], context: CallContext): Promise<readonly OrderResult[]> {
    return await this.#byCluster(jobs, (cluster, some) => this.#orderOf(verb, cluster, some, context));
  }

  /** The queue is looked at first: an id may be another job's by now, and a command must not reach that one. */
  async #orderOf(
    verb: Verb,
    cluster: string | undefined,
    jobs: readonly ScheduledJob[],
    context: CallContext,
  ): Promise<readonly OrderResult[]> {
    const queue = await this.#queue(cluster, context);
    if (queue.state === "unknown") return jobs.map(() => queue);
    const rows = new Rows(queue.rows);
    const known = jobs.map((job) => orderedFrom(job, rows.of(job), queue.incomplete));
    const operands = [...new Set(jobs.filter((_, index) => known[index] === undefined).map(operandOf))];
    const results = new Map<string, OrderResult>();
    for (const chunk of inChunks(operands, mostOperands)) {
      const command = verb === "cancel" ? scancel(cluster, chunk) : scontrolOrder(verb, cluster, chunk);
      const answer = await this.#run(command, context);
      for (const [index, operand] of chunk.entries()) {
        const result = answer[index];
        if (result) results.set(operand, result);
      }
    }
    return jobs.map(
      (job, index) => known[index] ?? results.get(operandOf(job)) ?? { state: "unknown", why: "no answer for it" },
    );
  }

  /** Results in the order of the jobs, each cluster asked for its own. */
  async #byCluster<Result>(
    jobs: readonly ScheduledJob[],
    ask: (cluster: string | undefined, jobs: readonly ScheduledJob[]) => Promise<readonly Result[]>,
  ): Promise<readonly Result[]> {
    const groups = Map.groupBy(jobs.entries(), ([, job]) => job.cluster ?? this.#cluster);
    const results: Result[] = [];
    for (const [cluster, group] of groups) {
      const answers = await ask(
        cluster,
        group.map(([, job]) => job),
      );
      for (const [place, [index]] of group.entries()) {
        const answer = answers[place];
        if (answer !== undefined) results[index] = answer;
      }
    }
    return results;
  }

  #queue(cluster: string | undefined, context: CallContext): Promise<QueueAnswer> {
    let shared = this.#queues.get(cluster);
    if (!shared) {
      shared = new SharedAsk((each) => this.#run(squeue(cluster), each));
      this.#queues.set(cluster, shared);
    }
    return shared.ask(context);
  }

  async #history(
    items: readonly string[],
    question: (items: readonly string[]) => AccountingQuestion,
    context: CallContext,
  ): Promise<History> {
    const learned = await this.#known(context);
    if (learned.state === "unknown")
      return { rows: [], kept: true, unknown: new Map(items.map((item) => [item, learned.why])) };
    if (!learned.facts.accounting) return { rows: [], kept: false, unknown: new Map() };
    const history = await askHistory(items, (some) => this.#account(question(some), context));
    if (!history.kept) this.#facts = { ...learned.facts, accounting: false };
    return history;
  }

  async #account(question: AccountingQuestion, context: CallContext): Promise<AccountingAnswer> {
    try {
      return await this.#run(sacct(question), context);
    } catch (error) {
      // A login node without the command has no accounting for us; anything else is the host's trouble.
      if (isFault(error, "LAUNCH") && error.details?.["code"] === "ENOENT") return { state: "disabled" };
      throw error;
    }
  }

  async #known(context: CallContext): Promise<FactsAnswer> {
    return this.#facts === undefined ? await this.#learn(context) : { state: "answered", facts: this.#facts };
  }

  async #learn(context: CallContext): Promise<FactsAnswer> {
    const answer = await this.#run(showConfig(this.#cluster), context);
    if (answer.state === "answered") this.#facts = answer.facts;
    return answer;
  }

  #run<Answer>(command: Parameters<typeof runCommand<Answer>>[1], context: CallContext): Promise<Answer> {
    return runCommand(this.#host, command, this.#environment, context);
  }

  #clusterField(): { readonly cluster?: string } {
    return this.#cluster === undefined ? {} : { cluster: this.#cluster };
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** Since when accounting has to be asked, seconds since 1970. It refuses a start that is yet to come. */
function earliest(times: readonly string[], context: CallContext): number {
  const now = new Date(context.clock.now()).toISOString();
  return Math.min(...[now, ...times].map(notBefore));
}

/** What is known of an order without giving it; undefined: it has to be given. */
function orderedFrom(
  job: ScheduledJob,
  rows: readonly QueueRow[],
  incomplete: string | undefined,
): OrderResult | undefined {
  if (!isJobId(job.id)) return { state: "refused", reason: `'${job.id}' is no job id of Slurm` };
  if (rows.some((row) => meaningOf(row.state).as !== "ended")) return undefined;
  return rows.length === 0 && incomplete !== undefined ? { state: "unknown", why: incomplete } : { state: "over" };
}

function historyNote({ history }: SchedulerCapabilities): string {
  if (history === "accounting") return "ends are confirmed by accounting";
  return history === "queue"
    ? "no accounting: how a job ended is told while the queue still has it"
    : "no accounting, and ended jobs leave the queue at once: exit records alone tell how jobs ended";
}
