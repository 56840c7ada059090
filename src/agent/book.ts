import type { JsonObject } from "../common/json.ts";
import type { Order, Report } from "../wire/agent-api.ts";
import type { JobSpec } from "../wire/agent-api.ts";
import type { ManifestEntry } from "../transfer/types.ts";
import { type HeldJob, hasLiveAttempt } from "./held-job.ts";
import type { ManifestPage } from "./manifest-file.ts";
import type { AgentRecord, ModeChange, RecordKinds } from "./records.ts";

export interface OutboxEntry {
  readonly report: Report;
  /** Where its outputs lie when it has them not itself. */
  readonly page?: ManifestPage | undefined;
  /** Kept, but holds up nothing: `parked` = central refused it for good; `unknown` = central does not know the job, offered again later. */
  readonly parked?: string | undefined;
}

/** Something of the job is on its way to central: nothing keeps its first report back. */
export function hasUnsent(entries: readonly OutboxEntry[] | undefined): boolean {
  const first = entries?.[0];
  return first !== undefined && first.parked === undefined;
}

export interface OrderEntry {
  readonly order: Order;
  readonly result?: RecordKinds["order.answered"]["result"] | undefined;
}

/** Changes of a job that are kept; the story of one that is blocked for weeks stays readable. */
const historyLength = 200;
/** Orders whose result central knows that are remembered: one that comes again is answered alike and not carried out again. */
const ordersRemembered = 1_000;

/**
 * What the agent knows: the fold of its journal, nothing else. `apply` is the only way in which it changes, in memory as
 * on replay, so both are the same by construction (invariant I10).
 */
export class Book {
  readonly jobs = new Map<string, HeldJob>();
  /** Those of `jobs` that have not ended: what capacity and loops look at, however many ended ones are kept. */
  readonly open = new Map<string, HeldJob>();
  /** Claims that were about to be sent. */
  readonly claiming = new Map<string, JobSpec>();
  /** Reports not acknowledged, per job in order. */
  readonly outbox = new Map<string, OutboxEntry[]>();
  readonly orders = new Map<string, OrderEntry>();
  /** Results of the latest orders that are over, by id. */
  readonly pastOrders = new Map<string, NonNullable<OrderEntry["result"]>>();
  mode: ModeChange | undefined;
  sessionEpoch: number | undefined;
  /** The last process said goodbye. */
  #stoppedInOrder = false;
  /** Those of `open` with an attempt that is not proven dead, by target. */
  readonly #live = new Map<string, Map<string, HeldJob>>();
  /** By digest. */
  readonly #apps = new Map<string, HeldJob["app"]>();
  /** Where each file lies in the manifest that has it: a job may have 100,000 files. */
  readonly #places = new WeakMap<object, Map<string, number>>();

  apply(entry: AgentRecord): void {
    const id = entry.job ?? "";
    switch (entry.kind) {
      case "agent.start":
        this.#begin();
        return;
      case "agent.stop":
        this.#stoppedInOrder = true;
        return;
      case "agent.mode":
        this.mode = entry.data;
        return;
      case "agent.session":
        this.sessionEpoch = entry.data.epoch;
        return;
      case "claim.intent":
        this.claiming.set(id, entry.data.spec);
        return;
      case "claim.void":
        this.claiming.delete(id);
        return;
      case "job.held":
        this.claiming.delete(id);
        this.#put(this.#shared(entry.data.job));
        return;
      case "job.change":
        this.#change(id, entry.data);
        return;
      case "job.file":
        this.#addFile(id, entry.data);
        return;
      case "job.forgotten":
        this.#live.get(this.jobs.get(id)?.target ?? "")?.delete(id);
        this.jobs.delete(id);
        this.open.delete(id);
        this.outbox.delete(id);
        return;
      case "out.put":
        this.outbox.set(id, [...(this.outbox.get(id) ?? []), entry.data]);
        return;
      case "out.ack":
        this.#acknowledge(id, entry.data);
        return;
      case "order.received":
        if (!this.orders.has(entry.data.order.id)) this.orders.set(entry.data.order.id, { order: entry.data.order });
        return;
      case "order.answered": {
        const known = this.orders.get(entry.data.id);
        if (known) this.orders.set(entry.data.id, { ...known, result: entry.data.result });
        return;
      }
      case "order.closed":
        this.#closeOrder(entry.data.id);
        return;
    }
  }

  /** Open jobs of a target that have an attempt which is not proven dead. */
  liveOn(target: string): ReadonlyMap<string, HeldJob> {
    return this.#liveOn(target);
  }

  /** For compaction: everything, as the JSON of one object. */
  snapshot(): string {
    const state = {
      jobs: [...this.jobs.values()],
      claiming: [...this.claiming],
      outbox: [...this.outbox],
      orders: [...this.orders.values()],
      past_orders: [...this.pastOrders],
      mode: this.mode ?? null,
      session_epoch: this.sessionEpoch ?? null,
      stopped: this.#stoppedInOrder,
    };
    return JSON.stringify(state);
  }

  static fromSnapshot(state: JsonObject): Book {
    const book = new Book();
    const data = state as unknown as {
      jobs: HeldJob[];
      claiming: [string, JobSpec][];
      outbox: [string, OutboxEntry[]][];
      orders: OrderEntry[];
      past_orders?: [string, NonNullable<OrderEntry["result"]>][];
      mode: ModeChange | null;
      session_epoch: number | null;
      stopped?: boolean;
    };
    for (const job of data.jobs) book.#put(book.#shared(job));
    for (const [id, spec] of data.claiming) book.claiming.set(id, spec);
    for (const [id, entries] of data.outbox) book.outbox.set(id, entries);
    for (const entry of data.orders) book.orders.set(entry.order.id, entry);
    for (const [id, result] of data.past_orders ?? []) book.pastOrders.set(id, result);
    book.mode = data.mode ?? undefined;
    book.sessionEpoch = data.session_epoch ?? undefined;
    book.#stoppedInOrder = data.stopped ?? false;
    return book;
  }

  #change(id: string, { patch, history }: RecordKinds["job.change"]): void {
    const job = this.jobs.get(id);
    if (!job) return;
    const next: Record<string, unknown> = { ...job };
    // Not deleted: an object that lost a member is a slow one from then on, and there are thousands that change often.
    for (const [key, value] of Object.entries(patch)) next[key] = value ?? undefined;
    if (history !== undefined) next["history"] = [...job.history, ...history].slice(-historyLength);
    this.#put(next as unknown as HeldJob);
  }

  /** Jobs of one app share its object: thousands of ended ones are kept. */
  #shared(job: HeldJob): HeldJob {
    if (job.app_digest === "") return job;
    const app = this.#apps.get(job.app_digest) ?? job.app;
    this.#apps.set(job.app_digest, app);
    return { ...job, app };
  }

  #liveOn(target: string): Map<string, HeldJob> {
    const known = this.#live.get(target);
    if (known) return known;
    const made = new Map<string, HeldJob>();
    this.#live.set(target, made);
    return made;
  }

  #put(job: HeldJob): void {
    const before = this.jobs.get(job.id);
    if (before && before.target !== job.target) this.#live.get(before.target)?.delete(job.id);
    const isLive = job.ended_at === undefined && hasLiveAttempt(job);
    if (isLive) this.#liveOn(job.target).set(job.id, job);
    else this.#live.get(job.target)?.delete(job.id);
    this.jobs.set(job.id, job);
    if (job.ended_at === undefined) this.open.set(job.id, job);
    else this.open.delete(job.id);
  }

  /**
   * A new process. What central refused is offered once more (it or we may be another version). A job whose step the last process had
   * entered and not left when it ended counts one more death; an orderly stop says that it was none of theirs (`agent.stop`).
   */
  #begin(): void {
    for (const [id, entries] of this.outbox) {
      if (entries.some((entry) => entry.parked !== undefined))
        this.outbox.set(
          id,
          entries.map(({ report, page }) => (page === undefined ? { report } : { report, page })),
        );
    }
    const inOrder = this.#stoppedInOrder;
    this.#stoppedInOrder = false;
    for (const job of this.open.values()) {
      if (job.entered === undefined || job.entered.waiting) continue;
      const { step, deaths } = job.entered;
      this.#put({ ...job, entered: { step, deaths: inOrder ? deaths : deaths + 1, waiting: true } });
    }
  }

  #addFile(id: string, { direction, entry }: RecordKinds["job.file"]): void {
    const job = this.jobs.get(id);
    if (!job) return;
    const key = direction === "in" ? "manifest_in" : "manifest_out";
    const files = job[key] as ManifestEntry[];
    let places = this.#places.get(files);
    if (!places) {
      places = new Map(files.map((known, index) => [placeKey(known), index]));
      this.#places.set(files, places);
    }
    // In place: the array is the book's own. Copying it for each of n files would cost n².
    const place = places.get(placeKey(entry));
    if (place === undefined) places.set(placeKey(entry), files.push(entry) - 1);
    else files[place] = entry;
    if (job.entered === undefined || job.entered.deaths === 0) return;
    this.#put({ ...job, entered: { ...job.entered, deaths: 0 } });
  }

  #closeOrder(id: string): void {
    const result = this.orders.get(id)?.result;
    this.orders.delete(id);
    if (result === undefined) return;
    this.pastOrders.delete(id);
    this.pastOrders.set(id, result);
    const [oldest] = this.pastOrders.keys();
    if (this.pastOrders.size > ordersRemembered && oldest !== undefined) this.pastOrders.delete(oldest);
  }

  #acknowledge(id: string, ack: RecordKinds["out.ack"]): void {
    const entries = this.outbox.get(id);
    if (!entries) return;
    const rest =
      ack.outcome === "parked" || ack.outcome === "unknown"
        ? entries.map((entry) =>
            entry.report.seq === ack.seq && entry.report.epoch === ack.epoch
              ? { ...entry, parked: ack.outcome }
              : entry,
          )
        : entries.filter((entry) => entry.report.epoch !== ack.epoch || entry.report.seq > ack.seq);
    if (rest.length === 0) this.outbox.delete(id);
    else this.outbox.set(id, rest);
    const job = this.jobs.get(id);
    if (job && !job.bound && job.epoch === ack.epoch && (ack.outcome === "applied" || ack.outcome === "duplicate")) {
      this.#put({ ...job, bound: true });
    }
  }
}

function placeKey(entry: ManifestEntry): string {
  return `${entry.item}\n${entry.path}`;
}
