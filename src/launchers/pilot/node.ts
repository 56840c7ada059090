import { join } from "node:path";
import type { CallContext } from "../../common/context.ts";
import type { Token } from "../../common/token.ts";
import type { Host } from "../../hosts/types.ts";
import { addShares, nothing, type Share } from "../../jobs/resources.ts";
import { type HoldOrder, type NodeEvent, parseEvent, type PlacedOrder, readOrders } from "./orders.ts";

/** The node agent begins the next file beyond this (node.pl). */
const fullEventsBytes = 262_144;
const chunkBytes = 1024 * 1024;
const mostOrderBytes = 64 * 1024 * 1024;
/** Ends of the last time by which is guessed how many attempts a node can be given ahead. */
const rateMs = 2_000;
/** What the node agent says when it ends by itself. */
export const idleWord = "nothing was to be done";
/** However fast they end: so many can be lost with a node, and so many wait where others might be idle. */
const mostAhead = 256;
/** Ends in a second from which it pays to have the next ones there. */
const slowestRate = 2;

/** What an attempt was given of a node. */
export interface Placed extends Pick<HoldOrder, "share" | "gpus"> {
  /** Another node starts it: here is only room for it. */
  readonly held: boolean;
}

/** What a node of an allocation has and says, as far as its files were read. */
export class PilotNode {
  readonly directory: string;
  readonly index: number;
  readonly placed = new Map<Token, Placed>();
  host = "";
  /** How long it has still, and by our monotonic clock when that was read; undefined = it has not begun. */
  beat: { readonly leftMs: number; readonly seenAt: number } | undefined;
  /** By the node's clock, wall time. */
  calmAtMs: number | undefined;
  ending: { readonly atMs: number; readonly why: string } | undefined;
  /** It started something, or ended because nothing was to be done. */
  fruitful = false;
  hinted = true;
  lookedAt = Number.NEGATIVE_INFINITY;
  watch: Disposable | undefined;
  /** Room that it was told not to hold any more. */
  readonly #asked = new Set<Token>();
  #ends: number[] = [];
  #file = 0;
  #offset = 0;

  constructor(allocation: string, index: number) {
    this.index = index;
    this.directory = join(allocation, "nodes", String(index));
  }

  get used(): Share {
    let used: Share = nothing;
    for (const { share } of this.placed.values()) used = addShares(used, share);
    return used;
  }

  get gpusInUse(): ReadonlySet<string> {
    return new Set([...this.placed.values()].flatMap(({ gpus }) => gpus));
  }

  /** It takes orders: it has begun, does not end, and was heard of not long ago. */
  isOpen(now: number, silentMs: number): boolean {
    return this.beat !== undefined && this.ending === undefined && now - this.beat.seenAt < silentMs;
  }

  leftMs(now: number): number {
    return this.beat === undefined ? 0 : this.beat.leftMs - (now - this.beat.seenAt);
  }

  /** Whose room is held here for nothing, and it was not said yet. */
  idleHolds(isNeeded: (token: Token) => boolean): readonly Token[] {
    const held = [...this.placed].filter(([, placed]) => placed.held).map(([token]) => token);
    return held.filter((token) => !this.#asked.has(token) && !isNeeded(token));
  }

  asked(frees: readonly Token[]): void {
    for (const token of frees) this.#asked.add(token);
  }

  /** How many attempts may be handed to it beyond what fits: as many as it ends in a second, and none before half of those are gone. */
  ahead(now: number, cores: number): number {
    this.#ends = this.#ends.filter((at) => now - at < rateMs);
    const rate = (this.#ends.length * 1000) / rateMs;
    if (rate < slowestRate) return 0;
    const most = Math.min(mostAhead, Math.ceil(rate) + cores);
    return this.placed.size > Math.max(cores, most / 2) ? 0 : Math.max(0, most - this.placed.size);
  }

  /** Attempts that were handed to it and, as far as its files tell, are not all over; for who starts anew. */
  async orders(host: Host, context: CallContext): Promise<readonly (PlacedOrder & { readonly name: string })[]> {
    const found = [];
    for (const place of ["inbox", "closed", "taken"]) {
      const names = (await host.files.list(join(this.directory, place), context)) ?? [];
      for (const name of names.filter((each) => each.endsWith(".order"))) {
        const path = join(this.directory, place, name);
        const bytes = await host.files.read(path, { maxBytes: mostOrderBytes }, context);
        for (const order of (bytes && readOrders(bytes)) ?? []) found.push({ ...order, name });
      }
    }
    return found;
  }

  /** What it wrote since the last time. */
  async news(host: Host, context: CallContext): Promise<readonly NodeEvent[]> {
    this.hinted = false;
    this.lookedAt = context.clock.monotonic();
    if (this.#file === 0 && !(await this.#first(host, context))) return [];
    const events: NodeEvent[] = [];
    while (true) {
      const path = join(this.directory, `events-${this.#file}`);
      const bytes = await host.files.read(path, { offset: this.#offset, maxBytes: chunkBytes }, context);
      const end = bytes === undefined ? -1 : bytes.lastIndexOf("\n");
      if (bytes && end >= 0) {
        this.#offset += end + 1;
        for (const line of bytes.toString("utf8", 0, end).split("\n")) {
          const event = parseEvent(line);
          if (event) events.push(event);
        }
        // Less than was asked for: that was all, and it is not the end of a file that another one follows.
        if (bytes.byteLength < chunkBytes && this.#offset <= fullEventsBytes) break;
        continue;
      }
      const full = bytes === undefined || this.#offset > fullEventsBytes;
      if (!full || !(await this.#next(host, context))) break;
    }
    for (const event of events) this.#take(event, context.clock.monotonic());
    return events;
  }

  async #first(host: Host, context: CallContext): Promise<boolean> {
    const numbers = await this.#numbers(host, context);
    this.#file = numbers[0] ?? 0;
    return numbers.length > 0;
  }

  async #next(host: Host, context: CallContext): Promise<boolean> {
    const next = (await this.#numbers(host, context)).find((number) => number > this.#file);
    if (next === undefined) return false;
    this.#file = next;
    this.#offset = 0;
    return true;
  }

  async #numbers(host: Host, context: CallContext): Promise<readonly number[]> {
    const names = (await host.files.list(this.directory, context)) ?? [];
    return names
      .flatMap((name) => /^events-(\d+)$/.exec(name)?.[1] ?? [])
      .map(Number)
      .toSorted((a, b) => a - b);
  }

  #take(event: NodeEvent, now: number): void {
    switch (event.kind) {
      case "beat":
        this.host = event.host;
        this.beat = { leftMs: event.leftMs, seenAt: now };
        if (!this.ending) this.calmAtMs = event.atMs;
        return;
      case "calm":
        if (!this.ending) this.calmAtMs = event.atMs;
        return;
      case "ending":
        this.ending ??= { atMs: event.atMs, why: event.why };
        if (event.why === idleWord) this.fruitful = true;
        return;
      case "over":
        this.ending ??= { atMs: 0, why: "it is over" };
        for (const [token, { held }] of this.placed) if (held) this.placed.delete(token);
        return;
      case "ended":
        this.#ends.push(now);
        this.placed.delete(event.token);
        return;
      case "back":
      case "failed":
      case "gone":
      case "clear":
        this.placed.delete(event.token);
        this.#asked.delete(event.token);
        return;
      case "started":
        this.fruitful = true;
    }
  }
}
