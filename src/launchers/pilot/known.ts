import type { Token } from "../../common/token.ts";
import type { AttemptStatus } from "../types.ts";
import type { Entry } from "./attempts.ts";
import type { PilotNode } from "./node.ts";
import type { NodeEvent } from "./orders.ts";
import type { PackItem } from "./pack.ts";

/** Ended attempts that are remembered; the agent asks for them a few more times. */
const mostEnded = 20_000;

/** Attempts that were launched here or that an earlier agent handed over: which wait, and where the others are. */
export class KnownAttempts {
  /** In the order in which they came. */
  readonly #open = new Map<Token, Entry>();
  readonly #ended = new Map<Token, Entry>();

  /** Those whose end is not proven. */
  get open(): Iterable<Entry> {
    return this.#open.values();
  }

  get(token: Token): Entry | undefined {
    return this.#open.get(token) ?? this.#ended.get(token);
  }

  remember(entry: Entry): void {
    this.#open.set(entry.token, entry);
  }

  forget(token: Token): void {
    this.#open.delete(token);
    this.#ended.delete(token);
  }

  /** Its end is proven. */
  close(entry: Entry, final: AttemptStatus): void {
    entry.final = final;
    entry.place?.node.placed.delete(entry.token);
    this.#open.delete(entry.token);
    this.#ended.set(entry.token, entry);
    const [oldest] = this.#ended.keys();
    if (this.#ended.size > mostEnded && oldest !== undefined) this.#ended.delete(oldest);
  }

  waiting(now: number): readonly PackItem<Entry>[] {
    const waiting: PackItem<Entry>[] = [];
    for (const entry of this.#open.values()) {
      if (entry.place || !entry.plan || entry.overdue) continue;
      const { share, needMs, avoid, since, plan } = entry;
      waiting.push({ key: entry, share, nodes: plan.resources.nodes, needMs, waitedMs: now - since, avoid });
    }
    return waiting;
  }

  /** Something waits, or runs where its node has not said that it is over. */
  get areBusy(): boolean {
    for (const { word, place } of this.#open.values()) if (!word && !place?.one.over) return true;
    return false;
  }

  /** Room that is held for it on a further node is still needed: it was handed over there and is not over. */
  needsRoom(token: Token, node: PilotNode): boolean {
    const entry = this.#open.get(token);
    return entry?.word === undefined && entry?.place?.one.nodes.get(node.index) === node;
  }

  /** Takes what a node said of an attempt; false when it says nothing new of one that we know. */
  hear(node: PilotNode, event: NodeEvent): event is Extract<NodeEvent, { readonly token: Token }> {
    const entry = "token" in event ? this.#open.get(event.token) : undefined;
    if (!entry || !("token" in event)) return false;
    if (event.kind !== "clear" && entry.place?.node !== node) return false;
    switch (event.kind) {
      case "started":
        entry.startedAtMs = event.atMs;
        break;
      case "back":
        this.free(entry, node);
        break;
      case "ended":
        entry.word ??= event;
        break;
      case "gone":
        entry.word = event;
        break;
      case "failed":
        entry.word = { kind: "failed", why: event.why };
        break;
      case "clear":
        break;
    }
    entry.seen = undefined;
    return true;
  }

  /** It was not started there and never will be. Without its plan only who has it can launch it again. */
  free(entry: Entry, node: PilotNode): void {
    node.placed.delete(entry.token);
    entry.avoid.add(node);
    // An order for it may still be on its way to those that hold room for it.
    for (const other of entry.place?.one.nodes.values() ?? [])
      if (other.placed.has(entry.token)) entry.avoid.add(other);
    entry.place = undefined;
    entry.word = undefined;
    entry.seen = undefined;
    if (!entry.plan) this.#open.delete(entry.token);
  }
}
