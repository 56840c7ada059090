import { join } from "node:path";
import { sleepUnless } from "../../common/clock.ts";
import type { CallContext } from "../../common/context.ts";
import { failpoint } from "../../common/failpoint.ts";
import type { Token } from "../../common/token.ts";
import { type Allocation, Allocations } from "./allocations.ts";
import { bare } from "./attempts.ts";
import { elastic } from "./elastic.ts";
import type { KnownAttempts } from "./known.ts";
import type { PilotNode } from "./node.ts";
import type { PilotLauncherOptions } from "./options.ts";
import { type Orders, writeOrders } from "./orders.ts";
import { type NodeOrders, placeAll, usableMs } from "./placing.ts";

/** Words of a node that come shortly after each other are read together. */
const gatherMs = 15;
/** How often allocations are looked after in which nothing runs. */
const keepMs = 30_000;

/**
 * The work of a pilot, round by round: what nodes said is taken, what waits is placed, and behind the rounds (commands of a scheduler may
 * take minutes) allocations are asked for, followed and given back.
 */
export class Rounds implements AsyncDisposable {
  readonly allocations: Allocations;
  readonly #options: PilotLauncherOptions;
  readonly #known: KnownAttempts;
  readonly #tell: (token: Token) => void;
  readonly #closed = new AbortController();
  #loaded: Promise<void> | undefined;
  #round: Promise<void> = Promise.resolve();
  #nextRound: Promise<void> | undefined;
  #behind: Promise<void> | undefined;
  /** Ends the pause between two rounds. */
  #news: PromiseWithResolvers<void> | undefined;
  #keeping: Promise<void> | undefined;
  #gathering: Promise<void> | undefined;
  #idleSince: number | undefined;
  #orders = 0;

  /** `tell`: an attempt probably changed. */
  constructor(options: PilotLauncherOptions, known: KnownAttempts, tell: (token: Token) => void) {
    this.#options = options;
    this.#known = known;
    this.#tell = tell;
    this.allocations = new Allocations(options);
  }

  /** What an earlier agent left. @throws Fault when it cannot be read: then nothing is known. */
  async load(context: CallContext): Promise<void> {
    this.#loaded ??= this.#readAll(context);
    try {
      await this.#loaded;
    } catch (error) {
      this.#loaded = undefined;
      throw error;
    }
  }

  /** Something came that waits. */
  hurry(): void {
    this.#news?.resolve();
  }

  /** Who comes during a round shares the next one. */
  take(context: CallContext): Promise<void> {
    if (this.#nextRound) return this.#nextRound;
    const next = this.#round.then(async () => {
      this.#nextRound = undefined;
      if (this.#closed.signal.aborted) return;
      await this.#hear(context);
      await this.#release(context);
      await this.#place(context);
      this.#lookAfter(context);
    });
    this.#nextRound = next;
    this.#round = next.catch((error: unknown) => {
      context.log.warn({ err: error }, "allocations cannot be looked after");
    });
    return this.#round;
  }

  /** Rounds as long as there is something to look after: no watch sees what other machines write to a shared file system. */
  keep(context: CallContext): void {
    if (this.#keeping || !this.#areNeeded()) return;
    this.#keeping = (async () => {
      do {
        // Set before the round: who comes during it is not kept waiting for the long pause of an idle one.
        const news = Promise.withResolvers<void>();
        this.#news = news;
        await this.load(context).then(
          () => this.take(context),
          () => undefined,
        );
        const pauseMs = this.#known.areBusy ? this.#options.lookMs : keepMs;
        await sleepUnless(context.clock, pauseMs, news.promise, this.#closed.signal);
      } while (this.#areNeeded());
      this.#keeping = undefined;
    })();
  }

  /** Whatever the answer: it may have been written. Only the node, or the end of its allocation, tells that it was not. */
  async send(node: PilotNode, orders: Orders, context: CallContext): Promise<boolean> {
    const number = String(this.#orders++).padStart(9, "0");
    const name = `${String(context.clock.now()).padStart(14, "0")}-${number}-${process.pid}.order`;
    const path = join(node.directory, "inbox", name);
    try {
      await failpoint("pilot.before-order");
      await this.#options.host.files.write(path, writeOrders(orders), { mode: 0o600 }, context);
      await failpoint("pilot.after-order");
      return true;
    } catch (error) {
      context.log.warn({ err: error, node: node.directory }, "orders may not have reached a node");
      return false;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort();
    for (const one of this.allocations.all.values())
      for (const node of one.nodes.values()) node.watch?.[Symbol.dispose]();
    await Promise.allSettled([this.#round, this.#nextRound, this.#behind, this.#keeping, this.#gathering]);
  }

  async #readAll(context: CallContext): Promise<void> {
    await this.allocations.load(context);
    const latest = new Map<Token, string>();
    for (const one of this.allocations.alive) {
      for (const node of one.nodes.values()) {
        for (const { name, ...order } of await node.orders(this.#options.host, context)) {
          node.placed.set(order.token, { ...order, held: order.kind === "hold" });
          if (order.kind === "hold" || (latest.get(order.token) ?? "") > name) continue;
          latest.set(order.token, name);
          const { share, needMs } = order;
          const entry = bare(order.token, order.directory, context.clock.monotonic());
          const lent = needMs !== undefined && needMs >= usableMs(this.#options);
          this.#known.remember({ ...entry, share, needMs, lent, place: { one, node } });
        }
      }
    }
  }

  async #hear(context: CallContext): Promise<void> {
    const { lookMs, patience } = this.#options;
    const now = context.clock.monotonic();
    for (const one of this.allocations.all.values()) {
      const late = one.over !== undefined && one.weighed && now - one.over.at > patience.recordMs + lookMs;
      if (late) {
        for (const node of one.nodes.values()) unwatch(node);
        continue;
      }
      // Its files tell of its begin sooner than the scheduler is asked again.
      await this.allocations.discover(one, context);
      const unread = one.over !== undefined && !one.weighed;
      for (const node of one.nodes.values()) {
        node.watch ??= this.#watch(node, context);
        if (node.hinted || unread || now - node.lookedAt >= lookMs) await this.#hearNode(node, context);
      }
      if (one.over && !one.weighed) await this.allocations.weigh(one, context);
    }
  }

  async #hearNode(node: PilotNode, context: CallContext): Promise<void> {
    const news = await node.news(this.#options.host, context);
    for (const event of news) if (this.#known.hear(node, event)) this.#tell(event.token);
    if (news.some(({ kind }) => kind === "ending")) this.#options.queue.hurry(context);
    if (!news.some(({ kind }) => kind === "ending" || kind === "calm")) return;
    // What decides about ends that may have come with the allocation's was heard.
    for (const { token, place, word } of this.#known.open)
      if (word && place?.one.nodes.get(node.index) === node) this.#tell(token);
  }

  /** Room that was held for attempts which are over, went elsewhere, or of which an earlier agent had handed over no more than that. */
  async #release(context: CallContext): Promise<void> {
    for (const one of this.allocations.alive) {
      for (const node of one.nodes.values()) {
        const frees = node.idleHolds((token) => this.#known.needsRoom(token, node));
        if (frees.length > 0 && (await this.send(node, { frees }, context))) node.asked(frees);
      }
    }
  }

  async #place(context: CallContext): Promise<void> {
    const now = context.clock.monotonic();
    const waiting = this.#known.waiting(now);
    if (waiting.length === 0) return;
    const orders = [...placeAll(waiting, this.allocations.alive, this.#options, now)];
    const unheld = await this.#hold(orders, context);
    await Promise.all(
      orders.map(async ([node, { runs }]) => {
        const sure = runs.filter(({ token }) => !unheld.has(token));
        if (sure.length > 0) await this.send(node, { runs: sure }, context);
      }),
    );
  }

  /** First room on all further nodes, whose agents end there what is left of an attempt; which attempts have not got theirs for certain. */
  async #hold(
    orders: readonly (readonly [PilotNode, NodeOrders])[],
    context: CallContext,
  ): Promise<ReadonlySet<Token>> {
    const unheld = new Set<Token>();
    await Promise.all(
      orders.map(async ([node, { holds }]) => {
        if (holds.length === 0 || (await this.send(node, { holds }, context))) return;
        for (const { token } of holds) unheld.add(token);
      }),
    );
    for (const token of unheld) {
      const entry = this.#known.get(token);
      if (entry?.place) this.#known.free(entry, entry.place.node);
    }
    return unheld;
  }

  #lookAfter(context: CallContext): void {
    this.#behind ??= (async () => {
      const before = this.allocations.alive;
      try {
        await this.allocations.follow(context);
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
    const waiting = this.#known.waiting(now);
    const [alive, coming] = [this.allocations.alive.length, this.allocations.coming.length];
    const capacity = { cores: node.cores, memoryBytes: node.memoryBytes };
    const shape = { nodes, usableMs: usableMs(this.#options), node: { capacity, gpuIds: node.gpuIds } };
    const { submit, surplus } = elastic({ waiting, shape, alive, coming }, rule);
    if (submit > 0) await this.allocations.submit(submit, alive < rule.min, context);
    this.#idleSince = waiting.length > 0 || surplus === 0 ? undefined : (this.#idleSince ?? now);
    if (this.#idleSince !== undefined && now - this.#idleSince >= idleMs)
      await this.allocations.cancelQueued(surplus, context);
  }

  /** Attempts of an allocation that is over are looked at again. */
  #unsettle(one: Allocation): void {
    for (const { token, place } of this.#known.open) if (place?.one === one) this.#tell(token);
  }

  #areNeeded(): boolean {
    if (this.#closed.signal.aborted) return false;
    const mayHaveSome = !this.#loaded || this.allocations.alive.length > 0;
    return mayHaveSome || this.#options.elastic.min > 0 || this.#known.areBusy;
  }

  #watch(node: PilotNode, context: CallContext): Disposable | undefined {
    return this.#options.host.files.watch?.(node.directory, (name) => {
      if (name !== "" && !name.startsWith("events-")) return;
      node.hinted = true;
      this.#gathering ??= context.clock.sleep(gatherMs, this.#closed.signal).then(() => {
        this.#gathering = undefined;
        return this.take(context);
      });
    });
  }
}

function unwatch(node: PilotNode): void {
  node.watch?.[Symbol.dispose]();
  node.watch = undefined;
}
