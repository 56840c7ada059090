import type { Probe } from "../../common/adapter.ts";
import { isoTime } from "../../common/clock.ts";
import type { CallContext } from "../../common/context.ts";
import { isFault } from "../../common/fault.ts";
import { shellQuoted } from "../../common/shell.ts";
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
import { directivesOf, problemsOf } from "./directives.ts";
import { idOf, isPbsId } from "./ids.ts";
import { judge } from "./look.ts";
import type { OrderAnswer } from "./orders.ts";
import { qdel } from "./qdel.ts";
import { qhold } from "./qhold.ts";
import { qrls } from "./qrls.ts";
import { qselect } from "./qselect.ts";
import { qstat, type QstatAnswer, type QstatQuestion } from "./qstat.ts";
import { qsub, type QsubAnswer } from "./qsub.ts";
import { qstatServer } from "./server.ts";
import { type Flavour, qstatVersion, type VersionAnswer } from "./version.ts";

/** Asked for in one command: below the limits of command lines (2 MiB) and of an answer. Torque's qstat asks for each of them by itself. */
const idsAtOnce = { openpbs: 10_000, torque: 1_000 } as const;
const ordersAtOnce = 100;
/** Of `max_array_size` until the server was asked. */
const defaultMostTasks = 10_000;
const locating = [
  "PBS_CONF_FILE",
  "PBS_EXEC",
  "PBS_HOME",
  "PBS_SERVER",
  "PBS_DEFAULT",
  "PBSCOREHOME",
  "PBS_SERVER_HOST_NAME",
];

/** OpenPBS, PBS Professional and Torque, by their commands on the host. */
export function createPbs(options: SchedulerOptions): Scheduler {
  return new Pbs(options);
}

class Pbs implements Scheduler {
  readonly kind = "pbs";
  readonly #options: SchedulerOptions;
  #version: Extract<VersionAnswer, { ok: true }> | undefined;
  /** Does the server keep ended jobs? undefined: not known yet. */
  #history: boolean | undefined;
  #mostTasks = defaultMostTasks;
  /** Of Torque: the list of all jobs is longer than can be read; whom the last question in turn ended with. */
  #listTooLong = false;
  #lastAsked: string | undefined;

  constructor(options: SchedulerOptions) {
    this.#options = { host: options.host, environment: commandEnvironment(options.environment, locating) };
  }

  get capabilities(): SchedulerCapabilities {
    return { arrays: true, mostTasks: this.#mostTasks, history: this.#history === false ? "none" : "queue" };
  }

  async probe(context: CallContext): Promise<Probe> {
    const hint =
      "PATH of the host's environment has to lead to PBS's commands, and PBS_CONF_FILE or PBS_SERVER to its server";
    try {
      const version = await this.#versionOf(context);
      if (!version.ok) return { ok: false, reason: version.why, hint };
      const server = await this.#run(qstatServer(version.flavour), context);
      if (!server.ok) return { ok: false, reason: server.why, hint };
      this.#history = server.history;
      this.#mostTasks = server.mostTasks;
      const notes = [
        `server ${server.name}`,
        ...(server.history ? [] : ["no job history: ends are known by the jobs' own records alone"]),
      ];
      return { ok: true, version: version.version, notes };
    } catch (error) {
      return { ok: false, reason: error instanceof Error ? error.message : String(error), hint };
    }
  }

  async submit(requests: readonly SubmitRequest[], context: CallContext): Promise<readonly SubmitResult[]> {
    const version = await this.#versionOf(context);
    if (!version.ok) return requests.map(() => ({ state: "limited", reason: version.why }));
    const prepared = requests.map((request) => this.#commandOf(request));
    const commands = prepared.flatMap((one) => ("argv" in one ? [one] : []));
    const submittedAt = isoTime(context.clock.now());
    const { host, environment } = this.#options;
    const answers = (await submitAll(host, commands, environment, context)).values();
    return requests.map(({ token }, index): SubmitResult => {
      const one = prepared[index];
      const answer = one === undefined || "argv" in one ? answers.next().value : one;
      if (answer === undefined || !("id" in answer)) return answer ?? { state: "unclear", why: "no answer" };
      return { state: "submitted", job: { id: answer.id, token, submittedAt } };
    });
  }

  #commandOf(request: SubmitRequest): BundledCommand<QsubAnswer> | Rejection {
    const problems = problemsOf(request, this.#flavour);
    if (problems.length > 0) return { state: "rejected", reason: problems.join("; ") };
    const script = rendered(() => this.render(request));
    return typeof script === "string" ? qsub(script, this.#flavour) : script;
  }

  async find(
    wanted: readonly { readonly token: Token; readonly since: string }[],
    context: CallContext,
  ): Promise<readonly FindResult[]> {
    const results: FindResult[] = [];
    const version = await this.#versionOf(context);
    for (const { token, since } of wanted) {
      results.push(version.ok ? await this.#findOne(token, since, context) : { state: "unknown", why: version.why });
    }
    return results;
  }

  async #findOne(token: Token, since: string, context: CallContext): Promise<FindResult> {
    const withHistory = this.#flavour === "openpbs" && this.#history !== false;
    let answer = await this.#run(qselect(token, withHistory), context);
    if (answer.state === "no-history") {
      this.#history = false;
      answer = await this.#run(qselect(token, false), context);
    }
    if (answer.state !== "answer") {
      return { state: "unknown", why: answer.state === "unknown" ? answer.why : "qselect refuses to answer" };
    }
    const [first, ...others] = answer.ids
      .toSorted((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10))
      .map((id): ScheduledJob => ({ id, token, submittedAt: since }));
    return first === undefined ? { state: "absent" } : { state: "found", jobs: [first, ...others] };
  }

  async statuses(jobs: readonly ScheduledJob[], context: CallContext): Promise<readonly ScheduledStatus[]> {
    if (jobs.length === 0) return [];
    const version = await this.#versionOf(context);
    if (!version.ok) return jobs.map(() => ({ state: "unknown", why: version.why }));
    const ids = [...new Set(jobs.map(({ id }) => id).filter(isPbsId))];
    if (this.#flavour === "torque") return await this.#torqueStatuses(jobs, ids, context);
    const answers = new Map<string, QstatAnswer>();
    for (const chunk of inChunks(ids, idsAtOnce.openpbs)) {
      const answer = await this.#look(chunk, context);
      for (const id of chunk) answers.set(id, answer);
    }
    return await mapInSlices(jobs, (job): ScheduledStatus => {
      const answer = answers.get(job.id);
      if (answer === undefined) return { state: "unknown", why: `'${job.id}' is no id of PBS` };
      return judge(job, answer, this.#flavour);
    });
  }

  /**
   * Torque's qstat makes one request for each id that it is given, so that many are answered by a list of all jobs. Who is in no answer is
   * asked for by the own id, tasks of arrays too; more than fit into that question the next time.
   */
  async #torqueStatuses(
    jobs: readonly ScheduledJob[],
    ids: readonly string[],
    context: CallContext,
  ): Promise<readonly ScheduledStatus[]> {
    const isMany = ids.length > idsAtOnce.torque;
    const first = await this.#qstat(isMany && !this.#listTooLong ? [] : this.#turnOf(ids), "text", context);
    if (isMany && first.truncated) this.#listTooLong = true;
    const missing = jobs.filter((job) => isPbsId(job.id) && judge(job, first, "torque").state === "unknown");
    const strays = [...new Set(missing.map(idOf))];
    const answer =
      first.trouble !== undefined || strays.length === 0 ? first : await this.#with(first, strays, context);
    return await mapInSlices(jobs, (job): ScheduledStatus => {
      if (!isPbsId(job.id)) return { state: "unknown", why: `'${job.id}' is no id of PBS` };
      return judge(job, answer, "torque");
    });
  }

  async #with(first: QstatAnswer, ids: readonly string[], context: CallContext): Promise<QstatAnswer> {
    const again = await this.#qstat(this.#turnOf(ids), "text", context);
    return {
      ...again,
      records: new Map([...first.records, ...again.records]),
      unknown: new Set([...first.unknown, ...again.unknown]),
    };
  }

  /** As many as one question may be about, from behind those that were asked for last. */
  #turnOf(ids: readonly string[]): readonly string[] {
    if (ids.length <= idsAtOnce.torque) return ids;
    const next = this.#lastAsked === undefined ? 0 : ids.indexOf(this.#lastAsked) + 1;
    const turn = [...ids.slice(next), ...ids.slice(0, next)].slice(0, idsAtOnce.torque);
    this.#lastAsked = turn.at(-1);
    return turn;
  }

  /** All at once; then those that were not answered one by one: an answer that leaves some out is common, and proves nothing. */
  async #look(ids: readonly string[], context: CallContext): Promise<QstatAnswer> {
    const first = await this.#qstat(ids, "json", context);
    const missing = ids.filter((id) => !first.records.has(id) && !first.unknown.has(id));
    if (missing.length === 0 || first.trouble !== undefined) return first;
    const again = await this.#qstat(missing, "text", context);
    return {
      ...again,
      records: new Map([...first.records, ...again.records]),
      unknown: new Set([...first.unknown, ...again.unknown]),
    };
  }

  async #qstat(ids: readonly string[], format: QstatQuestion["format"], context: CallContext): Promise<QstatAnswer> {
    const flavour = this.#flavour;
    const ask = async (history: boolean): Promise<QstatAnswer> =>
      await this.#run(qstat({ ids, flavour, format, history }), context);
    const answer = await ask(this.#history !== false);
    if (answer.historyOff) this.#history = false;
    else if (answer.finished.size > 0) this.#history = true;
    else return answer;
    return await ask(this.#history);
  }

  cancel(jobs: readonly ScheduledJob[], context: CallContext): Promise<readonly OrderResult[]> {
    return this.#order(qdel, jobs, context);
  }

  hold(jobs: readonly ScheduledJob[], context: CallContext): Promise<readonly OrderResult[]> {
    return this.#order(qhold, jobs, context);
  }

  release(jobs: readonly ScheduledJob[], context: CallContext): Promise<readonly OrderResult[]> {
    return this.#order(qrls, jobs, context);
  }

  /** Ids are used again: an order goes only to what was just seen to be ours. */
  async #order(
    command: (ids: readonly string[]) => SchedulerCommand<OrderAnswer>,
    jobs: readonly ScheduledJob[],
    context: CallContext,
  ): Promise<readonly OrderResult[]> {
    const seen = await this.statuses(jobs, context);
    const living = jobs.filter((_, index) => ["queued", "running", "finishing"].includes(seen[index]?.state ?? ""));
    const answers = new Map<string, OrderResult>();
    for (const chunk of inChunks([...new Set(living.map(idOf))], ordersAtOnce)) {
      for (const [id, result] of await this.#run(command(chunk), context)) answers.set(id, result);
    }
    return jobs.map((job, index) => {
      const status = seen[index];
      if (status?.state === "ended" || status?.state === "absent") return { state: "over" };
      const why = status?.state === "unknown" ? status.why : "no answer";
      return answers.get(idOf(job)) ?? { state: "unknown", why };
    });
  }

  render(request: SubmitRequest): string {
    return renderScript({
      directives: directivesOf(request, this.#flavour),
      variables: {
        task: "${PBS_ARRAY_INDEX:-${PBS_ARRAYID:-0}}",
        nativeId: request.tasks > 1 ? '"${PBS_JOBID%%[[]*}[]${PBS_JOBID#*]}"' : '"$PBS_JOBID"',
        restarts: "", // PBS tells no job how often it was started
      },
      prologue: [`cd ${shellQuoted(request.directory)} || exit 1`],
      body: request.body,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  get #flavour(): Flavour {
    return this.#version?.flavour ?? "openpbs";
  }

  async #versionOf(context: CallContext): Promise<VersionAnswer> {
    if (this.#version !== undefined) return this.#version;
    const answer = await this.#run(qstatVersion(), context);
    if (answer.ok) this.#version = answer;
    return answer;
  }

  #run<Answer>(command: SchedulerCommand<Answer>, context: CallContext): Promise<Answer> {
    return runCommand(this.#options.host, command, this.#options.environment, context);
  }
}

function rendered(render: () => string): string | Rejection {
  try {
    return render();
  } catch (error) {
    if (isFault(error)) return { state: "rejected", reason: error.message };
    throw error;
  }
}
