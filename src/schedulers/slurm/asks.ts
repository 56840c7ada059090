import type { CallContext } from "../../common/context.ts";
import { isFault } from "../../common/fault.ts";
import type { Host } from "../../hosts/types.ts";
import { type BundledCommand, submitAll } from "../bundle.ts";
import { runCommand, type SchedulerCommand } from "../command.ts";
import { commandEnvironment } from "../environment.ts";
import { SharedAsk } from "../shared-ask.ts";
import type { SchedulerOptions } from "../types.ts";
import { askHistory, type History, IdsInTurn, mostAtOnce } from "./history.ts";
import type { SbatchAnswer } from "./sbatch.ts";
import { type AccountingAnswer, type AccountingQuestion, sacct } from "./sacct.ts";
import { type FactsAnswer, showConfig, type SlurmFacts } from "./show-config.ts";
import { type QueueAnswer, squeue } from "./squeue.ts";

/** What locates the cluster, and the way to authenticate where there is no munge. */
const locating = ["SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT"];

/** So long what a controller said of itself counts when a job is missing: behind the same commands there may be another one since. */
const freshMs = 300_000;

/** Runs Slurm's commands on the host and keeps what the controller said of itself. */
export class Asks {
  /** The cluster that all commands are for; undefined: the one of slurm.conf. */
  readonly cluster: string | undefined;
  readonly #host: Host;
  readonly #environment: Readonly<Record<string, string>>;
  readonly #queues = new Map<string | undefined, SharedAsk<QueueAnswer>>();
  #facts: SlurmFacts | undefined;
  readonly #ids = new IdsInTurn();
  /** Monotonic. */
  #learnedAt = Number.NEGATIVE_INFINITY;

  constructor({ host, environment }: SchedulerOptions) {
    this.#host = host;
    const { SLURM_CLUSTERS: cluster, ...rest } = commandEnvironment(environment, locating);
    this.#environment = rest;
    this.cluster = cluster;
  }

  /** What was learned the last time; undefined = nothing yet. */
  get facts(): SlurmFacts | undefined {
    return this.#facts;
  }

  /** Of jobs that are taken or found now. */
  get origin(): { readonly origin?: string } {
    const name = this.#facts?.cluster ?? "";
    return name === "" ? {} : { origin: name };
  }

  /** @throws Fault of the host when the command could not be run. */
  run<Answer>(command: SchedulerCommand<Answer>, context: CallContext): Promise<Answer> {
    return runCommand(this.#host, command, this.#environment, context);
  }

  /** @throws Fault LAUNCH when nothing was begun. */
  submitAll(commands: readonly BundledCommand<SbatchAnswer>[], context: CallContext): Promise<readonly SbatchAnswer[]> {
    return submitAll(this.#host, commands, this.#environment, context);
  }

  /** Asks the controller what it is, whatever was known. */
  async learn(context: CallContext): Promise<FactsAnswer> {
    const answer = await this.run(showConfig(this.cluster), context);
    if (answer.state === "answered") {
      this.#facts = answer.facts;
      this.#learnedAt = context.clock.monotonic();
    }
    return answer;
  }

  /** What the controller that answers just now, or did a few minutes ago, calls its cluster. */
  async clusterNow(context: CallContext): Promise<string | undefined> {
    const isFresh = context.clock.monotonic() - this.#learnedAt < freshMs;
    const answer = isFresh ? await this.known(context) : await this.learn(context);
    return answer.state === "answered" ? answer.facts.cluster : undefined;
  }

  async known(context: CallContext): Promise<FactsAnswer> {
    return this.#facts === undefined ? await this.learn(context) : { state: "answered", facts: this.#facts };
  }

  /** The queue as it is after this call; one command for all who ask meanwhile. */
  queue(cluster: string | undefined, context: CallContext): Promise<QueueAnswer> {
    let shared = this.#queues.get(cluster);
    if (!shared) {
      shared = new SharedAsk((each) => this.run(squeue(cluster), each));
      this.#queues.set(cluster, shared);
    }
    return shared.ask(context);
  }

  /** What accounting has of these ids or names; nothing where none is kept. */
  async history(
    by: keyof typeof mostAtOnce,
    items: readonly string[],
    question: (items: readonly string[]) => AccountingQuestion,
    context: CallContext,
  ): Promise<History> {
    const learned = await this.known(context);
    if (learned.state === "unknown") {
      return { rows: [], kept: true, unknown: new Map(items.map((item) => [item, learned.why])) };
    }
    if (!learned.facts.accounting) return { rows: [], kept: false, unknown: new Map() };
    const ask = (some: readonly string[]): Promise<AccountingAnswer> => this.#account(question(some), context);
    const history = by === "ids" ? await this.#ids.ask(items, ask) : await askHistory(items, mostAtOnce.names, ask);
    if (!history.kept) this.#facts = { ...learned.facts, accounting: false };
    return history;
  }

  async #account(question: AccountingQuestion, context: CallContext): Promise<AccountingAnswer> {
    try {
      return await this.run(sacct(question), context);
    } catch (error) {
      // A login node without the command has no accounting for us; anything else is the host's trouble.
      if (isFault(error, "LAUNCH") && error.details?.["code"] === "ENOENT") return { state: "disabled" };
      throw error;
    }
  }
}
