import type { Probe } from "../../common/adapter.ts";
import { isoTime } from "../../common/clock.ts";
import type { CallContext } from "../../common/context.ts";
import { isFault } from "../../common/fault.ts";
import { mapInSlices } from "../../common/slices.ts";
import type { Token } from "../../common/token.ts";
import { type BundledCommand, type Rejection, submitAll } from "../bundle.ts";
import { runCommand, type SchedulerCommand } from "../command.ts";
import { commandEnvironment } from "../environment.ts";
import { renderScript } from "../script.ts";
import { inChunks } from "../../common/chunks.ts";
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
import { accountName } from "./account.ts";
import { Accounting } from "./accounting.ts";
import { directivesOf, problemsOf } from "./directives.ts";
import { afterQueue, entryOf, isRecordOf } from "./history.ts";
import { isSgeId, operandOf } from "./ids.ts";
import { JobMemory } from "./memory.ts";
import type { OrderAnswer } from "./orders.ts";
import { defaultMostTasks, qconfConfiguration, qstatHelp } from "./qconf.ts";
import { qdel } from "./qdel.ts";
import { qhold } from "./qhold.ts";
import { qrls } from "./qrls.ts";
import { qstat, type QstatAnswer, type QueueEntry } from "./qstat.ts";
import { qsub, type QsubAnswer } from "./qsub.ts";
import { Reasons } from "./reasons.ts";
import { statusOfLetters } from "./states.ts";

const ordersAtOnce = 100;
const locating = [
  "SGE_ROOT",
  "SGE_CELL",
  "SGE_ARCH",
  "SGE_CLUSTER_NAME",
  "SGE_QMASTER_PORT",
  "SGE_EXECD_PORT",
  "SGE_SINGLE_LINE",
];

/** Grid Engine (Son of Grid Engine, Open Grid Scheduler, Univa), by its commands on the host. */
export function createGridEngine(options: SchedulerOptions): Scheduler {
  return new GridEngine(options);
}

class GridEngine implements Scheduler {
  readonly kind = "sge";
  readonly #options: SchedulerOptions;
  readonly #memory = new JobMemory();
  readonly #accounting: Accounting;
  readonly #reasons: Reasons;
  /** What the site file says of where the cell is. */
  readonly #origin: string | undefined;
  #account: string | undefined;
  /** The last time. */
  #askedReasons = false;
  #mostTasks = defaultMostTasks;

  constructor(options: SchedulerOptions) {
    this.#options = { host: options.host, environment: commandEnvironment(options.environment, locating) };
    const { SGE_ROOT: root, SGE_CELL: cell = "default" } = this.#options.environment;
    this.#origin = root === undefined ? undefined : `${root}/${cell}`;
    const run = <Answer>(command: SchedulerCommand<Answer>, context: CallContext): Promise<Answer> =>
      this.#run(command, context);
    this.#accounting = new Accounting(run, this.#memory);
    this.#reasons = new Reasons(run, this.#memory);
  }

  get capabilities(): SchedulerCapabilities {
    return { arrays: true, mostTasks: this.#mostTasks, history: "accounting" };
  }

  async probe(context: CallContext): Promise<Probe> {
    const hint =
      "PATH of the host's environment has to lead to Grid Engine's commands, SGE_ROOT and SGE_CELL to its cell";
    try {
      const version = await this.#run(qstatHelp(), context);
      if (!version.ok) return { ok: false, reason: version.why, hint };
      const configuration = await this.#run(qconfConfiguration(), context);
      if (!configuration.ok) return { ok: false, reason: configuration.why, hint };
      this.#mostTasks = configuration.mostTasks;
      const queue = await this.#queue(context);
      if (queue.state === "unknown") return { ok: false, reason: queue.why, hint };
      return { ok: true, version: version.version };
    } catch (error) {
      return { ok: false, reason: error instanceof Error ? error.message : String(error), hint };
    }
  }

  async submit(requests: readonly SubmitRequest[], context: CallContext): Promise<readonly SubmitResult[]> {
    const prepared = requests.map((request) => this.#commandOf(request));
    const commands = prepared.flatMap((one) => ("argv" in one ? [one] : []));
    const submittedAt = isoTime(context.clock.now());
    const { host, environment } = this.#options;
    const answers = (await submitAll(host, commands, environment, context)).values();
    return requests.map(({ token, tasks }, index): SubmitResult => {
      const one = prepared[index];
      const answer = one === undefined || "argv" in one ? answers.next().value : one;
      if (answer === undefined || !("id" in answer)) return answer ?? { state: "unclear", why: "no answer" };
      const job: ScheduledJob = { id: answer.id, ...this.#where, token, submittedAt };
      this.#memory.of(job).known = true;
      for (let task = 0; task < (tasks > 1 ? tasks : 0); task++) this.#memory.of({ ...job, task }).known = true;
      return { state: "submitted", job };
    });
  }

  #commandOf(request: SubmitRequest): BundledCommand<QsubAnswer> | Rejection {
    const problems = problemsOf(request);
    if (problems.length > 0) return { state: "rejected", reason: problems.join("; ") };
    const script = rendered(() => this.render(request));
    return typeof script === "string" ? qsub(script) : script;
  }

  async find(
    wanted: readonly { readonly token: Token; readonly since: string }[],
    context: CallContext,
  ): Promise<readonly FindResult[]> {
    if (wanted.length === 0) return [];
    const queue = await this.#queue(context);
    if (queue.state === "unknown") return wanted.map(() => ({ state: "unknown", why: queue.why }));
    const entries = [...queue.entries.values()].flat();
    const live = wanted.map(({ token }) => entries.filter(({ name }) => name === token).map(({ id }) => id));
    const gone = wanted.filter((_, index) => live[index]?.length === 0);
    const ended = await this.#accounting.byName(gone, queue.account, context);
    return wanted.map(({ token, since }, index) => {
      const history = ended.get(token);
      if (history?.state === "unknown") return { state: "unknown", why: history.why };
      const records = history?.state === "answer" ? history.records : [];
      const ids = records.filter((record) => isRecordOf({ token, submittedAt: since }, record)).map(({ id }) => id);
      return foundIn({ ...this.#where, token, submittedAt: since }, [...(live[index] ?? []), ...ids]);
    });
  }

  async statuses(jobs: readonly ScheduledJob[], context: CallContext): Promise<readonly ScheduledStatus[]> {
    if (jobs.length === 0) return [];
    const queue = await this.#queue(context);
    if (queue.state === "unknown") return jobs.map(() => ({ state: "unknown", why: queue.why }));
    const now = context.clock.monotonic();
    const seen = await mapInSlices(jobs, (job) => entryOf(job, queue.entries.get(job.id) ?? []));
    await mapInSlices(jobs, (job, index) => {
      const entry = seen[index];
      if (entry) this.#memory.see(job, entry.letters, now);
    });
    const missing = jobs.filter((job, index) => seen[index] === undefined && isSgeId(job.id));
    const entries = seen.filter((entry) => entry !== undefined);
    // One question beside that of the queue: of what is missing, or, in turn with it, why something waits.
    const asksReasons = this.#reasons.isDue(entries, now) && !(this.#askedReasons && missing.length > 0);
    this.#askedReasons = asksReasons;
    if (asksReasons) await this.#reasons.ask(entries, context);
    const history = await this.#accounting.byId(missing, queue.account, !asksReasons, context);
    return await mapInSlices(jobs, (job, index): ScheduledStatus => {
      const entry = seen[index];
      if (entry) return this.#inQueue(entry);
      if (!isSgeId(job.id)) return { state: "unknown", why: `'${job.id}' is no number of a job` };
      const records = history.get(job.id);
      if (records?.state !== "answer") return { state: "unknown", why: records?.why ?? "the accounting was not asked" };
      const status = afterQueue(job, queue.entries.get(job.id) ?? [], records.records, this.#memory, now);
      return status.state === "absent" ? this.#absent(job) : status;
    });
  }

  get #where(): { readonly origin?: string } {
    return this.#origin === undefined ? {} : { origin: this.#origin };
  }

  /** Another cell does not know the jobs of the one that took it. */
  #absent({ origin }: ScheduledJob): ScheduledStatus {
    if (origin === undefined || origin === this.#origin) return { state: "absent" };
    const why = `the cell '${origin}' took it, and the one that answers is '${this.#origin ?? "another"}': that this one does not have it proves nothing`;
    return { state: "unknown", why };
  }

  #inQueue(entry: QueueEntry): ScheduledStatus {
    const reason = this.#reasons.of(entry);
    const since = entry.queue === "" ? undefined : entry.at;
    return statusOfLetters(entry.letters, { reason, since, nodes: entry.queue === "" ? undefined : entry.queue });
  }

  async cancel(jobs: readonly ScheduledJob[], context: CallContext): Promise<readonly OrderResult[]> {
    return await this.#order(qdel, jobs, context, (job, { result, neverRan }) => {
      if (result.state === "requested") this.#memory.deleted(job, neverRan ? "waiting" : "running");
    });
  }

  hold(jobs: readonly ScheduledJob[], context: CallContext): Promise<readonly OrderResult[]> {
    return this.#order(qhold, jobs, context);
  }

  release(jobs: readonly ScheduledJob[], context: CallContext): Promise<readonly OrderResult[]> {
    return this.#order(qrls, jobs, context);
  }

  /** Numbers are used again: an order goes only to what was just seen to be ours. */
  async #order(
    command: (operands: readonly string[]) => SchedulerCommand<ReadonlyMap<string, OrderAnswer>>,
    jobs: readonly ScheduledJob[],
    context: CallContext,
    note: (job: ScheduledJob, answer: OrderAnswer) => void = () => {},
  ): Promise<readonly OrderResult[]> {
    const seen = await this.statuses(jobs, context);
    const living = jobs.filter((_, index) => ["queued", "running", "finishing"].includes(seen[index]?.state ?? ""));
    const answers = new Map<string, OrderResult>();
    const byOperand = new Map(living.map((job) => [operandOf(job), job] as const));
    for (const chunk of inChunks([...byOperand.keys()], ordersAtOnce)) {
      for (const [operand, answer] of await this.#run(command(chunk), context)) {
        answers.set(operand, answer.result);
        const job = byOperand.get(operand);
        if (job) note(job, answer);
      }
    }
    return jobs.map((job, index) => {
      const status = seen[index];
      if (status?.state === "ended" || status?.state === "absent") return { state: "over" };
      const why = status?.state === "unknown" ? status.why : "no answer";
      return answers.get(operandOf(job)) ?? { state: "unknown", why };
    });
  }

  render(request: SubmitRequest): string {
    return renderScript({
      directives: directivesOf(request),
      variables: {
        task: request.tasks > 1 ? "$((SGE_TASK_ID - 1))" : "0",
        nativeId: "$JOB_ID",
        restarts: "${RESTARTED:-}",
      },
      body: request.body,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #queue(context: CallContext): Promise<QstatAnswer & { readonly account: string }> {
    if (this.#account === undefined) {
      const answer = await this.#run(accountName(), context);
      if (!answer.ok) return { state: "unknown", why: answer.why, account: "" };
      this.#account = answer.name;
    }
    return { ...(await this.#run(qstat(this.#account), context)), account: this.#account };
  }

  #run<Answer>(command: SchedulerCommand<Answer>, context: CallContext): Promise<Answer> {
    return runCommand(this.#options.host, command, this.#options.environment, context);
  }
}

function foundIn(submission: Omit<ScheduledJob, "id">, ids: readonly string[]): FindResult {
  const [first, ...others] = [...new Set(ids)]
    .toSorted((a, b) => Number(a) - Number(b))
    .map((id): ScheduledJob => ({ ...submission, id }));
  return first === undefined ? { state: "absent" } : { state: "found", jobs: [first, ...others] };
}

function rendered(render: () => string): string | Rejection {
  try {
    return render();
  } catch (error) {
    if (isFault(error)) return { state: "rejected", reason: error.message };
    throw error;
  }
}
