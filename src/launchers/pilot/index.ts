import type { Handle, Probe } from "../../common/adapter.ts";
import type { CallContext } from "../../common/context.ts";
import { failpoint } from "../../common/failpoint.ts";
import { Fault } from "../../common/fault.ts";
import type { Token } from "../../common/token.ts";
import { formatDuration } from "../../common/units.ts";
import { statusOfEach, stopEach, unreachable } from "../answers.ts";
import { endedBy, recordOf, toldEnd } from "../judging.ts";
import { Listeners } from "../listeners.ts";
import { refuse } from "../refusal.ts";
import type {
  AttemptPlan,
  AttemptRef,
  AttemptStatus,
  Launcher,
  LauncherCapabilities,
  LaunchResult,
  StopResult,
} from "../types.ts";
import { type Entry, entryOf, isWithdrawn, markStop, outlived, whyWithdrawn, withdraw } from "./attempts.ts";
import { judgePilot } from "./judge.ts";
import { KnownAttempts } from "./known.ts";
import { factsOf, learn, told } from "./looking.ts";
import type { PilotLauncherOptions } from "./options.ts";
import { isOpenNow, problemsOf, usableMs } from "./placing.ts";
import { Rounds } from "./rounds.ts";

/** How often an attempt that an earlier agent handed over is looked at while its node tells of changes. */
const seldomMs = 60_000;

/** Packs attempts into allocations that it asks a scheduler for, and follows them by their own evidence, their nodes' words and the scheduler's. */
export function createPilotLauncher(options: PilotLauncherOptions): Launcher {
  return new PilotLauncher(options);
}

class PilotLauncher implements Launcher {
  readonly kind = "pilot";
  readonly capabilities: LauncherCapabilities = { runtimes: ["plain"], tier: "subreaper", attach: false };
  readonly #options: PilotLauncherOptions;
  readonly #known = new KnownAttempts();
  readonly #listeners = new Listeners();
  readonly #rounds: Rounds;

  constructor(options: PilotLauncherOptions) {
    this.#options = options;
    this.#rounds = new Rounds(options, this.#known, (token) => this.#listeners.tell(token));
  }

  async probe(context: CallContext): Promise<Probe> {
    const { host, queue } = this.#options;
    const place = await host.probe(context);
    if (!place.ok) return place;
    const probe = await queue.scheduler.probe(context);
    if (probe.ok) this.#rounds.keep(context);
    return probe;
  }

  async launch(plans: readonly AttemptPlan[], context: CallContext): Promise<readonly LaunchResult[]> {
    await failpoint("pilot.before-launch");
    await this.#rounds.load(context);
    const results = await Promise.all(plans.map((plan) => this.#launch(plan, context)));
    this.#rounds.keep(context);
    await this.#rounds.take(context);
    await failpoint("pilot.after-launch");
    return results;
  }

  async find(refs: readonly AttemptRef[], context: CallContext): Promise<readonly (Handle | undefined)[]> {
    const statuses = await this.statuses(refs, context);
    return statuses.map((status) => {
      if (status.state === "unknown") throw new Fault("UNREACHABLE", status.raw ?? status.why);
      return status.state === "absent" ? undefined : handle;
    });
  }

  async statuses(refs: readonly AttemptRef[], context: CallContext): Promise<readonly AttemptStatus[]> {
    try {
      await this.#rounds.load(context);
    } catch (error) {
      return refs.map(() => unreachable(error));
    }
    this.#rounds.keep(context);
    await this.#rounds.take(context);
    return statusOfEach(refs, (ref) => this.#status(ref, context));
  }

  async stop(
    refs: readonly AttemptRef[],
    how: { readonly graceMs: number; readonly reason: string },
    context: CallContext,
  ): Promise<readonly StopResult[]> {
    await failpoint("pilot.before-stop");
    const statuses = await this.statuses(refs, context);
    const results = await stopEach(refs, statuses, (ref, status) => this.#stop(ref, status, how, context));
    await failpoint("pilot.after-stop");
    return results;
  }

  watch(onChange: (token: Token) => void): Disposable {
    return this.#listeners.add(onChange);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#rounds[Symbol.asyncDispose]();
  }

  async #launch(plan: AttemptPlan, context: CallContext): Promise<LaunchResult> {
    if (this.#known.get(plan.token)) return { state: "accepted", handle };
    const problems = problemsOf(plan, this.#options);
    if (problems.length > 0) return refuse("launch", problems.join("; "));
    const { host } = this.#options;
    const names = (await host.files.list(plan.directory, context)) ?? [];
    if (isWithdrawn(new Set(names))) {
      const why = await whyWithdrawn(host, plan.directory, context);
      return why ? refuse("launch", why) : refuse("infrastructure", "it was stopped before anything ran");
    }
    if (names.includes("started")) return { state: "accepted", handle };
    const wholeMs = (await outlived(host, plan, context)) ? usableMs(this.#options) : undefined;
    if (this.#known.get(plan.token)) return { state: "accepted", handle };
    this.#known.remember(entryOf(plan, context.clock.monotonic(), wholeMs));
    this.#rounds.hurry();
    return { state: "accepted", handle };
  }

  async #status(ref: AttemptRef, context: CallContext): Promise<AttemptStatus> {
    const entry = this.#known.get(ref.token) ?? (await this.#learn(ref, context));
    if (!entry) return { state: "absent" };
    if (entry.final) return entry.final;
    if (!entry.place) return await this.#waiting(entry, context);
    const { one, node } = entry.place;
    const now = context.clock.monotonic();
    const isOpen = !one.over && !entry.word && isOpenNow(node, this.#options, now);
    if (isOpen && entry.plan) return told(entry, node);
    if (entry.seen && !one.over && now - entry.seenAt < (isOpen ? seldomMs : entry.word ? 0 : this.#options.lookMs))
      return entry.seen;
    const facts = await factsOf(this.#options.host, entry, entry.place, usableMs(this.#options), context);
    if (facts.held && recordOf(facts.evidence)) entry.word ??= { kind: "ended" };
    const judged = judgePilot(facts, this.#options.patience);
    if (judged.state === "free") {
      this.#known.free(entry, node);
      return this.#known.get(entry.token) ? this.#queued() : { state: "absent" };
    }
    if (judged.state === "ended") {
      this.#known.close(entry, judged);
      this.#listeners.tell(entry.token);
    }
    entry.seen = judged;
    entry.seenAt = now;
    return judged;
  }

  #queued(): AttemptStatus {
    return { state: "queued", reason: this.#rounds.allocations.reason };
  }

  /** What has found no room for too long goes nowhere any more, and ends when its guard is ours. */
  async #waiting(entry: Entry, context: CallContext): Promise<AttemptStatus> {
    const { host, queueLimitMs } = this.#options;
    if (queueLimitMs === undefined || context.clock.monotonic() - entry.since < queueLimitMs) return this.#queued();
    entry.overdue = true;
    const message = `it waited longer than the target's queue_limit (${formatDuration(queueLimitMs)}): ${this.#rounds.allocations.reason}`;
    const withdrawn = await withdraw(host, entry.directory, context, message);
    if (withdrawn === "withdrawn") {
      const never = { startedAtMs: undefined, nowMs: context.clock.now() };
      const end = toldEnd({ cause: "launch", message, evidence: "queue" }, never);
      const status = endedBy("never-started", end);
      this.#known.close(entry, status);
      return status;
    }
    // An order that an earlier round had given was carried out: its directory says where.
    this.#known.forget(entry.token);
    return { state: "unknown", why: "starting" };
  }

  async #learn(ref: AttemptRef, context: CallContext): Promise<Entry | undefined> {
    const entry = await learn(this.#options.host, this.#rounds.allocations, ref, context);
    if (entry) this.#known.remember(entry);
    return entry;
  }

  async #stop(
    ref: AttemptRef,
    status: AttemptStatus | undefined,
    how: { readonly graceMs: number; readonly reason: string },
    context: CallContext,
  ): Promise<StopResult> {
    if (status?.state === "ended") return { state: "gone", tier: status.tier };
    if (status === undefined || status.state === "unknown")
      return { state: "unknown", why: status?.raw ?? "it is not known whether it runs" };
    const { host } = this.#options;
    const entry = this.#known.get(ref.token);
    const order = async (): Promise<void> => {
      if (entry?.place) await this.#rounds.send(entry.place.node, { stops: [ref.token] }, context);
    };
    if (status.state !== "running") {
      const withdrawn = await withdraw(host, ref.directory, context);
      if (withdrawn === "starting") return { state: "unknown", why: "it is just starting" };
      if (withdrawn === "withdrawn") {
        await order();
        entry?.place?.node.placed.delete(ref.token);
        this.#known.forget(ref.token);
        return { state: "gone", tier: "never-started" };
      }
    }
    await markStop(host, ref.directory, how, context);
    await order();
    return { state: "stopping" };
  }
}

/** Everything that is to be known lies in the attempt's directory. */
const handle: Handle = { adapter: "pilot", version: 1, data: {} };
