import { join } from "node:path";
import type { Handle, Probe } from "../../common/adapter.ts";
import { sleepUnless } from "../../common/clock.ts";
import type { CallContext } from "../../common/context.ts";
import { failpoint } from "../../common/failpoint.ts";
import { asFault, Fault } from "../../common/fault.ts";
import type { Token } from "../../common/token.ts";
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
import { type Allocation, Allocations } from "./allocations.ts";
import { bare, type Entry, entryOf, isWithdrawn, markStop, withdraw } from "./attempts.ts";
import { elastic } from "./elastic.ts";
import { judgePilot } from "./judge.ts";
import { factsOf, learn, told } from "./looking.ts";
import type { PilotNode } from "./node.ts";
import type { PilotLauncherOptions } from "./options.ts";
import { type NodeEvent, writeOrders } from "./orders.ts";
import type { PackItem } from "./pack.ts";
import { isOpenNow, placeAll, problemsOf, usableMs } from "./placing.ts";

/** Ended attempts that are remembered; the agent asks for them a few more times. */
const mostKnown = 20_000;
/** How often an attempt that an earlier agent handed over is looked at while its node tells of changes. */
const seldomMs = 60_000;
/** Words of a node that come shortly after each other are read together. */
const gatherMs = 15;
/** How often allocations are looked after in which nothing runs. */
const keepMs = 30_000;

/** Packs attempts into allocations that it asks a scheduler for, and follows them by their own evidence, their nodes' words and the scheduler's. */
export function createPilotLauncher(options: PilotLauncherOptions): Launcher {
  return new PilotLauncher(options);
}

class PilotLauncher implements Launcher {
  readonly kind = "pilot";
  readonly capabilities: LauncherCapabilities = { runtimes: ["plain"], tier: "subreaper", attach: false };
  readonly #options: PilotLauncherOptions;
  readonly #allocations: Allocations;
  /** In the order in which they came. */
  readonly #entries = new Map<Token, Entry>();
  readonly #listeners = new Set<(token: Token) => void>();
  readonly #closed = new AbortController();
  #loaded: Promise<void> | undefined;
  #turn: Promise<void> = Promise.resolve();
  #nextTurn: Promise<void> | undefined;
  #behind: Promise<void> | undefined;
  /** Ends the pause between two turns. */
  #news: PromiseWithResolvers<void> | undefined;
  #keeping: Promise<void> | undefined;
  #gathering: Promise<void> | undefined;
  #idleSince: number | undefined;
  #orders = 0;

  constructor(options: PilotLauncherOptions) {
    this.#options = options;
    this.#allocations = new Allocations(options);
  }

  async probe(context: CallContext): Promise<Probe> {
    const { host, queue } = this.#options;
    const place = await host.probe(context);
    if (!place.ok) return place;
    const probe = await queue.scheduler.probe(context);
    if (probe.ok) this.#keep(context);
    return probe;
  }

  async launch(plans: readonly AttemptPlan[], context: CallContext): Promise<readonly LaunchResult[]> {
    await failpoint("pilot.before-launch");
    await this.#load(context);
    const results = await Promise.all(plans.map((plan) => this.#launch(plan, context)));
    this.#keep(context);
    await this.#takeTurn(context);
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
      await this.#load(context);
    } catch (error) {
      const raw = asFault(error).message;
      return refs.map(() => ({ state: "unknown", why: "unreachable", raw }));
    }
    this.#keep(context);
    await this.#takeTurn(context);
    return Promise.all(
      refs.map(async (ref): Promise<AttemptStatus> => {
        try {
          return await this.#status(ref, context);
        } catch (error) {
          return { state: "unknown", why: "unreachable", raw: asFault(error).message };
        }
      }),
    );
  }

  async stop(
    refs: readonly AttemptRef[],
    how: { readonly graceMs: number; readonly reason: string },
    context: CallContext,
  ): Promise<readonly StopResult[]> {
    await failpoint("pilot.before-stop");
    const statuses = await this.statuses(refs, context);
    const results = await Promise.all(
      refs.map(async (ref, index): Promise<StopResult> => {
        try {
          return await this.#stop(ref, statuses[index], how, context);
        } catch (error) {
          return { state: "unknown", why: asFault(error).message };
        }
      }),
    );
    await failpoint("pilot.after-stop");
    return results;
  }

  watch(onChange: (token: Token) => void): Disposable {
    this.#listeners.add(onChange);
    return { [Symbol.dispose]: () => void this.#listeners.delete(onChange) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort();
    for (const one of this.#allocations.all.values())
      for (const node of one.nodes.values()) node.watch?.[Symbol.dispose]();
    await Promise.allSettled([this.#turn, this.#nextTurn, this.#behind, this.#keeping, this.#gathering]);
  }

  async #launch(plan: AttemptPlan, context: CallContext): Promise<LaunchResult> {
    if (this.#entries.has(plan.token)) return { state: "accepted", handle };
    const problems = problemsOf(plan, this.#options);
    if (problems.length > 0) return refuse("launch", problems.join("; "));
    const names = (await this.#options.host.files.list(plan.directory, context)) ?? [];
    if (isWithdrawn(new Set(names))) return refuse("infrastructure", "it was stopped before anything ran");
    if (names.includes("started")) return { state: "accepted", handle };
    if (!this.#entries.has(plan.token)) this.#remember(entryOf(plan, context.clock.monotonic()));
    return { state: "accepted", handle };
  }

  #remember(entry: Entry): void {
    this.#entries.set(entry.token, entry);
    this.#news?.resolve();
    if (this.#entries.size <= mostKnown) return;
    for (const [token, old] of this.#entries) {
      if (this.#entries.size <= mostKnown) return;
      if (old.final) this.#entries.delete(token);
    }
  }

  // ---- what an earlier agent left

  async #load(context: CallContext): Promise<void> {
    this.#loaded ??= this.#readAll(context);
    try {
      await this.#loaded;
    } catch (error) {
      this.#loaded = undefined;
      throw error;
    }
  }

  async #readAll(context: CallContext): Promise<void> {
    await this.#allocations.load(context);
    const latest = new Map<Token, string>();
    for (const one of this.#allocations.alive) {
      for (const node of one.nodes.values()) {
        for (const { name, ...order } of await node.orders(this.#options.host, context)) {
          node.placed.set(order.token, order);
          if ((latest.get(order.token) ?? "") > name) continue;
          latest.set(order.token, name);
          const entry = bare(order.token, order.directory, context.clock.monotonic());
          this.#remember({ ...entry, share: order.share, needMs: order.needMs, place: { one, node } });
        }
      }
    }
  }

  // ---- one turn: what nodes said is taken, what waits is placed

  /** Who comes during a turn shares the next one. */
  #takeTurn(context: CallContext): Promise<void> {
    if (this.#nextTurn) return this.#nextTurn;
    const next = this.#turn.then(async () => {
      this.#nextTurn = undefined;
      if (this.#closed.signal.aborted) return;
      await this.#hear(context);
      await this.#place(context);
      this.#lookAfter(context);
    });
    this.#nextTurn = next;
    this.#turn = next.catch((error: unknown) => {
      context.log.warn({ err: error }, "allocations cannot be looked after");
    });
    return this.#turn;
  }

  async #hear(context: CallContext): Promise<void> {
    const { host, lookMs } = this.#options;
    const now = context.clock.monotonic();
    for (const one of this.#allocations.all.values()) {
      const late =
        one.over !== undefined && one.weighed && now - one.over.at > this.#options.patience.recordMs + lookMs;
      if (late) {
        for (const node of one.nodes.values()) this.#unwatch(node);
        continue;
      }
      // Its files tell of its begin sooner than the scheduler is asked again.
      await this.#allocations.discover(one, context);
      for (const node of one.nodes.values()) {
        node.watch ??= this.#watchNode(node, context);
        const unread = one.over !== undefined && !one.weighed;
        if (!node.hinted && !unread && now - node.lookedAt < lookMs) continue;
        const news = await node.news(host, context);
        for (const event of news) this.#take(node, event);
        if (news.some(({ kind }) => kind === "ending")) this.#options.queue.hurry(context);
        if (news.some(({ kind }) => kind === "ending" || kind === "calm")) this.#settle(node);
      }
      if (one.over && !one.weighed) await this.#allocations.weigh(one, context);
    }
  }

  #take(node: PilotNode, event: NodeEvent): void {
    if (!("token" in event)) return;
    const entry = this.#entries.get(event.token);
    if (entry?.place?.node !== node || entry.final) return;
    switch (event.kind) {
      case "started":
        entry.startedAtMs = event.atMs;
        break;
      case "back":
        this.#free(entry, node);
        break;
      case "ended":
        entry.word ??= { kind: "ended" };
        break;
      case "gone":
        entry.word = { kind: "gone" };
        break;
      case "failed":
        entry.word = { kind: "failed", why: event.why };
        break;
    }
    entry.seen = undefined;
    this.#changed(event.token);
  }

  /** What decides about ends that may have come with the allocation's was heard. */
  #settle(node: PilotNode): void {
    for (const entry of this.#entries.values())
      if (entry.place?.node === node && entry.word && !entry.final) this.#changed(entry.token);
  }

  /** It was not started there and never will be. Without its plan only who has it can launch it again. */
  #free(entry: Entry, node: PilotNode): void {
    node.placed.delete(entry.token);
    entry.avoid.add(node);
    entry.place = undefined;
    entry.word = undefined;
    entry.seen = undefined;
    if (!entry.plan) this.#entries.delete(entry.token);
  }

  async #place(context: CallContext): Promise<void> {
    const now = context.clock.monotonic();
    const waiting = this.#waiting(now);
    if (waiting.length === 0) return;
    const orders = placeAll(waiting, this.#allocations.alive, this.#options, now);
    await Promise.all([...orders].map(([node, runs]) => this.#send(node, writeOrders(runs), context)));
  }

  /** Whatever the answer: it may have been written. Only the node, or the end of its allocation, tells that it was not. */
  async #send(node: PilotNode, orders: Buffer, context: CallContext): Promise<void> {
    const number = String(this.#orders++).padStart(9, "0");
    const name = `${String(context.clock.now()).padStart(14, "0")}-${number}-${process.pid}.order`;
    try {
      await failpoint("pilot.before-order");
      await this.#options.host.files.write(join(node.directory, "inbox", name), orders, { mode: 0o600 }, context);
      await failpoint("pilot.after-order");
    } catch (error) {
      context.log.warn({ err: error, node: node.directory }, "orders may not have reached a node");
    }
  }

  #waiting(now: number): readonly PackItem<Entry>[] {
    const waiting: PackItem<Entry>[] = [];
    for (const entry of this.#entries.values()) {
      if (entry.place || entry.final || !entry.plan) continue;
      const { share, avoid, since } = entry;
      waiting.push({ key: entry, share, needMs: entry.needMs, waitedMs: now - since, avoid });
    }
    return waiting;
  }

  // ---- allocations, behind the turns: commands of a scheduler may take minutes

  #lookAfter(context: CallContext): void {
    this.#behind ??= (async () => {
      const before = this.#allocations.alive;
      try {
        await this.#allocations.follow(context);
        await this.#grow(context);
      } catch (error) {
        context.log.warn({ err: error }, "allocations cannot be looked after");
      } finally {
        this.#behind = undefined;
      }
      for (const one of before) if (one.over) this.#unsettle(one);
    })();
  }

  async #grow(context: CallContext): Promise<void> {
    if (this.#closed.signal.aborted) return;
    const { elastic: rule, nodes, node, idleMs } = this.#options;
    const now = context.clock.monotonic();
    const waiting = this.#waiting(now);
    const [alive, coming] = [this.#allocations.alive.length, this.#allocations.coming.length];
    const capacity = { cores: node.cores, memoryBytes: node.memoryBytes };
    const shape = { nodes, usableMs: usableMs(this.#options), node: { capacity, gpuIds: node.gpuIds } };
    const { submit, surplus } = elastic({ waiting, shape, alive, coming }, rule);
    if (submit > 0) await this.#allocations.submit(submit, alive < rule.min, context);
    this.#idleSince = waiting.length > 0 || surplus === 0 ? undefined : (this.#idleSince ?? now);
    if (this.#idleSince !== undefined && now - this.#idleSince >= idleMs)
      await this.#allocations.cancelQueued(surplus, context);
  }

  /** Attempts of an allocation that is over are looked at again. */
  #unsettle(one: Allocation): void {
    for (const entry of this.#entries.values())
      if (entry.place?.one === one && !entry.final) this.#changed(entry.token);
  }

  /** Turns as long as there is something to look after: no watch sees what other machines write to a shared file system. */
  #keep(context: CallContext): void {
    if (this.#keeping || !this.#isNeeded()) return;
    this.#keeping = (async () => {
      do {
        // Set before the turn: who comes during it is not kept waiting for the long pause of an idle one.
        const news = Promise.withResolvers<void>();
        this.#news = news;
        await this.#load(context).then(
          () => this.#takeTurn(context),
          () => undefined,
        );
        const pauseMs = this.#isBusy() ? this.#options.lookMs : keepMs;
        await sleepUnless(context.clock, pauseMs, news.promise, this.#closed.signal);
      } while (this.#isNeeded());
      this.#keeping = undefined;
    })();
  }

  #isNeeded(): boolean {
    if (this.#closed.signal.aborted) return false;
    const mayHaveSome = !this.#loaded || this.#allocations.alive.length > 0;
    return mayHaveSome || this.#options.elastic.min > 0 || this.#isBusy();
  }

  #isBusy(): boolean {
    return [...this.#entries.values()].some((entry) => !entry.final && !entry.word && !entry.place?.one.over);
  }

  // ---- one attempt

  async #status(ref: AttemptRef, context: CallContext): Promise<AttemptStatus> {
    const entry = this.#entries.get(ref.token) ?? (await this.#learn(ref, context));
    if (!entry) return { state: "absent" };
    if (entry.final) return entry.final;
    if (!entry.place) return { state: "queued", reason: this.#allocations.reason };
    const { one, node } = entry.place;
    const now = context.clock.monotonic();
    const isOpen = !one.over && !entry.word && isOpenNow(node, this.#options, now);
    if (isOpen && entry.plan) return told(entry, node);
    if (entry.seen && !one.over && now - entry.seenAt < (isOpen ? seldomMs : entry.word ? 0 : this.#options.lookMs))
      return entry.seen;
    const judged = judgePilot(await factsOf(this.#options.host, entry, { one, node }, context), this.#options.patience);
    if (judged.state === "free") {
      this.#free(entry, node);
      return this.#entries.has(entry.token)
        ? { state: "queued", reason: this.#allocations.reason }
        : { state: "absent" };
    }
    if (judged.state === "ended") {
      entry.final = judged;
      node.placed.delete(entry.token);
      this.#changed(entry.token);
    }
    entry.seen = judged;
    entry.seenAt = now;
    return judged;
  }

  async #learn(ref: AttemptRef, context: CallContext): Promise<Entry | undefined> {
    const entry = await learn(this.#options.host, this.#allocations, ref, context);
    if (entry) this.#remember(entry);
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
    const entry = this.#entries.get(ref.token);
    if (status.state !== "running") {
      const withdrawn = await withdraw(host, ref.directory, context);
      if (withdrawn === "starting") return { state: "unknown", why: "it is just starting" };
      if (withdrawn === "withdrawn") {
        if (entry?.place) await this.#send(entry.place.node, writeOrders([], [ref.token]), context);
        entry?.place?.node.placed.delete(ref.token);
        this.#entries.delete(ref.token);
        return { state: "gone", tier: "never-started" };
      }
    }
    await markStop(host, ref.directory, how, context);
    if (entry?.place) await this.#send(entry.place.node, writeOrders([], [ref.token]), context);
    return { state: "stopping" };
  }

  #changed(token: Token): void {
    for (const listener of this.#listeners) listener(token);
  }

  #watchNode(node: PilotNode, context: CallContext): Disposable | undefined {
    return this.#options.host.files.watch?.(node.directory, (name) => {
      if (name !== "" && !name.startsWith("events-")) return;
      node.hinted = true;
      this.#gathering ??= context.clock.sleep(gatherMs, this.#closed.signal).then(() => {
        this.#gathering = undefined;
        return this.#takeTurn(context);
      });
    });
  }

  #unwatch(node: PilotNode): void {
    node.watch?.[Symbol.dispose]();
    node.watch = undefined;
  }
}

/** Everything that is to be known lies in the attempt's directory. */
const handle: Handle = { adapter: "pilot", version: 1, data: {} };
