import type { Central } from "../central/types.ts";
import type { Clock } from "../common/clock.ts";
import type { CallContext } from "../common/context.ts";
import type { Fault } from "../common/fault.ts";
import type { Logger } from "../common/logger.ts";
import type { Host } from "../hosts/types.ts";
import type { AttemptPlan, Launcher, LaunchResult } from "../launchers/types.ts";
import type { Token } from "../common/token.ts";
import type { Progress } from "../transfer/types.ts";
import { Deadlines } from "./deadlines.ts";
import type { SiteParts } from "./deps.ts";
import { Follower } from "./follower.ts";
import type { HubOutputs } from "./hub-outputs.ts";
import { LaunchBatch } from "./launch-batch.ts";
import type { HeldJob } from "./held-job.ts";
import type { Ledger } from "./ledger.ts";
import type { Machine } from "./machine.ts";
import { KeyedMutex } from "./mutex.ts";
import { Notifier } from "./notifier.ts";
import type { Problems } from "./problems.ts";
import { SlotGate } from "./slot-gate.ts";
import type { TransitionDeps } from "./transition.ts";

/** Some 500 KB of a report: a hub takes 16 MiB at once. */
const outputsAtOnce = 2_000;
const usuallyJournaled = 5_000;

/** What all loops of one agent share. Owned by Agent (agent.ts). */
export class AgentCore implements TransitionDeps {
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly log: Logger;
  readonly machine: Machine;
  readonly central: Central;
  readonly outboxWork = new Notifier();
  /** A job changed (its id is the key), or something that all of them depend on. */
  readonly changed = new Notifier();
  /** The mode changed, or a phase of the process. */
  readonly modeChanged = new Notifier();
  readonly jobLock = new KeyedMutex();
  /** A job's driver has nothing left to do: it ended, was handed back or fenced. */
  readonly jobOver = new Notifier();
  /** Wakes the sync loop before its time. */
  readonly syncWork = new Notifier();
  /** Central answers again after an outage. */
  readonly centralBack = new Notifier();
  /** There are log bytes that should not wait for the next round. */
  readonly logWork = new Notifier();
  /** A transfer has something to tell. */
  readonly progressWork = new Notifier();
  /** How often central wants log bytes, milliseconds. */
  logIntervalMs = 5_000;
  readonly deadlines: Deadlines;
  readonly problems: Problems;
  readonly gate: SlotGate;
  readonly hubOutputs: HubOutputs;
  /** Files of one direction of a job that are records in the journal, and in memory; those that come after them go to a file. */
  readonly journaledFiles: number;
  /** Attempts planned by this process and not handed over yet: nobody can have launched them before. */
  readonly fresh = new Set<Token>();
  /** What of a job's attempt lives although it was killed, in words; lost at restart, seen again by the next stop. */
  readonly unkillable = new Map<string, string>();
  /** Jobs whose directories this process has just made: their first attempt need not make them again. */
  readonly prepared = new Set<string>();
  /** Latest progress of a transfer, per job; lost at restart. */
  readonly progress = new Map<string, Progress & { readonly stage: "inputs" | "outputs" }>();
  /** Aborts when the agent stops; attempts go on. */
  readonly stopping: AbortSignal;
  /** Ends the process in an orderly way: the journal cannot be written. */
  readonly onFatal: (fault: Fault) => void;
  parts: SiteParts;
  /** Launchers and hosts that a reload removed while jobs still need them (fault H11). */
  readonly #retired: SiteParts[] = [];
  readonly #followers = new Map<Launcher, Follower>();
  readonly #batches = new Map<Launcher, LaunchBatch>();

  constructor(options: {
    ledger: Ledger;
    clock: Clock;
    log: Logger;
    machine: Machine;
    central: Central;
    problems: Problems;
    stopping: AbortSignal;
    parts: SiteParts;
    hubOutputs: HubOutputs;
    journaledFiles?: number | undefined;
    onFatal: (fault: Fault) => void;
  }) {
    this.ledger = options.ledger;
    this.clock = options.clock;
    this.deadlines = new Deadlines(options.clock);
    this.log = options.log;
    this.machine = options.machine;
    this.central = options.central;
    this.problems = options.problems;
    this.stopping = options.stopping;
    this.parts = options.parts;
    this.onFatal = options.onFatal;
    this.gate = new SlotGate(this);
    this.hubOutputs = options.hubOutputs;
    this.journaledFiles = options.journaledFiles ?? usuallyJournaled;
  }

  context(log: Logger = this.log, signal: AbortSignal = this.stopping): CallContext {
    return { signal, log, clock: this.clock };
  }

  /** The launcher of a target, also of one that is no longer in the site file; undefined when this process never knew it. */
  launcher(target: string): Launcher | undefined {
    for (const parts of [this.parts, ...this.#retired.toReversed()]) {
      const launcher = parts.launchers.get(target);
      if (launcher) return launcher;
    }
    return undefined;
  }

  /** The host of a target, likewise. */
  host(target: string): Host | undefined {
    for (const parts of [this.parts, ...this.#retired.toReversed()]) {
      const name = parts.site.targets[target]?.host;
      const host = name === undefined ? undefined : parts.hosts.get(name);
      if (host) return host;
    }
    return undefined;
  }

  /** Work directories that lie on this machine. */
  get workdirsHere(): readonly string[] {
    return [...this.parts.hosts.values()].flatMap(({ kind, workdir }) => (kind === "local" ? [workdir] : []));
  }

  follower(launcher: Launcher): Follower {
    const known = this.#followers.get(launcher);
    if (known) return known;
    const made = new Follower(
      launcher,
      this.context(this.log.child({ component: "follower", launcher: launcher.kind })),
      (trouble) => this.#noteTrouble(launcher, trouble),
    );
    this.#followers.set(launcher, made);
    return made;
  }

  /** Nothing is known of its attempts while a launcher cannot be asked: nothing changes, and status says why. */
  #noteTrouble(launcher: Launcher, trouble: string | undefined): void {
    for (const [target, one] of this.parts.launchers) {
      if (one !== launcher) continue;
      const key = `follow:${target}`;
      if (trouble === undefined) this.problems.clear(key);
      else
        this.problems.set(
          key,
          `what runs on target '${target}' cannot be followed: ${trouble}`,
          "its jobs go on and stay as they are known until there is an answer",
        );
    }
  }

  /** Hands plans over, all that come in the same moment in one call of the launcher. */
  async launch(launcher: Launcher, plan: AttemptPlan, context: CallContext): Promise<LaunchResult> {
    let batch = this.#batches.get(launcher);
    if (!batch) {
      batch = new LaunchBatch(launcher);
      this.#batches.set(launcher, batch);
    }
    return await batch.launch(plan, context);
  }

  /** Takes a new configuration; jobs keep the app they were claimed with. */
  replaceParts(next: SiteParts): void {
    this.#retired.push(this.parts);
    this.parts = next;
    this.changed.notify();
    this.logWork.notify();
    this.syncWork.notify();
  }

  reportDetail(): "minimal" | "full" {
    return this.parts.site.agent.report;
  }

  /** A plain central gets no list of many outputs, but their number. */
  outputsAtOnce(): number {
    return this.central.capabilities.outputs ? outputsAtOnce : Infinity;
  }

  /** All that are known, ended ones included. */
  get jobs(): readonly HeldJob[] {
    return [...this.ledger.book.jobs.values()];
  }

  /** Those that have not ended. */
  get open(): Iterable<HeldJob> {
    return this.ledger.book.open.values();
  }

  /** After `stopping` aborted. */
  async close(): Promise<void> {
    await Promise.all([...this.#followers.values()].map((follower) => follower.closed()));
    for (const parts of [this.parts, ...this.#retired]) await parts[Symbol.asyncDispose]();
  }
}
