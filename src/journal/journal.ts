import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { Worker } from "node:worker_threads";
import { type Clock, isoTime } from "../common/clock.ts";
import { Fault, messageOf } from "../common/fault.ts";
import type { JsonObject } from "../common/json.ts";
import type { Logger } from "../common/logger.ts";
import type { FromWorker, ToWorker, WorkerData, WriterStatus } from "./messages.ts";
import { fullReasons } from "./full.ts";
import { decodeJson } from "./format.ts";
import type { Durability, Journal, JournalOpening, JournalReader, JournalRecord } from "./types.ts";

export interface JournalLimits {
  /** Bytes held back for a full disk; default 8 MB. 0 = none. */
  readonly ballastBytes?: number;
  /** Longest wait of a `group` record for its sync; default 1 s. */
  readonly groupSyncMs?: number;
  /** Longest wait of a `lazy` record; default 10 s. */
  readonly lazySyncMs?: number;
  /** How often a full disk is looked at; default 5 s. */
  readonly spaceCheckMs?: number;
}

export interface JournalOptions {
  /** Made (0700) when missing. One writer: take the instance lock before. */
  readonly directory: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly meta: {
    readonly agentId: string;
    /** Default: this machine's. */
    readonly host?: string;
    readonly bootId?: string;
  };
  readonly limits?: JournalLimits;
  readonly reader: JournalReader;
}

/** What the writing side tells; `exit` comes last, and at most once. */
export interface WriterEvents {
  readonly message: (message: FromWorker) => void;
  readonly error: (message: string) => void;
  readonly exit: () => void;
}

/** Starts the writing side of a journal: a thread, but for the simulation. Events come in later turns. */
export type StartWriter = (
  data: WorkerData,
  events: WriterEvents,
) => { readonly post: (message: ToWorker) => void; readonly end: () => void };

/** How long closing waits for the disk before the thread is given up. */
const closeMs = 5_000;
/** A write that takes longer than this is no slow disk, but one that hangs. */
const stalledMs = 10_000;
/** Not yet written bytes above which commits are refused: the disk hangs and memory must stay flat. */
const maxQueuedBytes = 64 * 1024 * 1024;

/**
 * Opens the journal of a state directory, repairing what a crash left. Damage never refuses to start: see `repair`.
 * @throws Fault JOURNAL when the directory cannot be used, JOURNAL_VERSION when a newer siteagent wrote it (nothing is touched)
 */
export async function openJournal(
  options: JournalOptions,
  startWriter: StartWriter = startThread,
): Promise<{ readonly journal: Journal; readonly opening: JournalOpening }> {
  const { limits = {}, meta, directory, clock } = options;
  const data: WorkerData = {
    directory,
    agentId: meta.agentId,
    host: meta.host ?? hostname(),
    bootId: meta.bootId ?? readBootId(),
    at: isoTime(clock.now()),
    ballastBytes: limits.ballastBytes ?? 8 * 1024 * 1024,
    groupSyncMs: limits.groupSyncMs ?? 1_000,
    lazySyncMs: limits.lazySyncMs ?? 10_000,
    spaceCheckMs: limits.spaceCheckMs ?? 5_000,
  };
  const journal = new ThreadJournal(data, startWriter, options);
  const opening = await journal.opened;
  const { repair } = opening;
  if (repair.kind === "salvage") options.log.error({ directory, repair }, "journal was damaged and has been salvaged");
  else if (repair.kind === "torn-tail") options.log.info({ directory, repair }, "journal had an unfinished write");
  return { journal, opening };
}

/** The writing side in a thread of its own. */
const startThread: StartWriter = (data, events) => {
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  const worker = new Worker(new URL(`./worker.${extension}`, import.meta.url), {
    workerData: data,
    name: "journal",
    execArgv: [],
  });
  worker.on("message", events.message);
  worker.on("error", (error) => events.error(messageOf(error)));
  worker.on("exit", events.exit);
  let posts: ToWorker[] = [];
  const send = (): void => {
    worker.postMessage(posts);
    posts = [];
  };
  return {
    // When an answer lets many jobs go on, all that they commit in this turn goes together: one hand-over, one sync.
    post(message) {
      if (posts.push(message) === 1) process.nextTick(send);
    },
    end() {
      // A thread stuck in the kernel cannot be waited for; it ends with the process.
      worker.unref();
      void worker.terminate();
    },
  };
};

/** Identifies the boot of this machine; empty where the kernel does not tell. */
export function readBootId(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return "";
  }
}

interface Waiting {
  readonly since: number;
  readonly bytes: number;
  readonly records: number;
  readonly resolve: () => void;
  readonly reject: (fault: Fault) => void;
}

class ThreadJournal implements Journal {
  readonly opened: Promise<JournalOpening>;
  readonly failed: AbortSignal;
  readonly #writer: ReturnType<StartWriter>;
  readonly #options: JournalOptions;
  readonly #failed = new AbortController();
  readonly #waiting = new Map<number, Waiting>();
  readonly #opening = Promise.withResolvers<JournalOpening>();
  readonly #ended = Promise.withResolvers<void>();
  /** Records whose checksum is right and that are no JSON all the same. */
  #unreadable = 0;
  #nextId = 1;
  #queuedBytes = 0;
  #status: WriterStatus = { bytes: 0, records: 0, health: "ok", syncMs: { last: 0, max: 0 } };
  #failure: Fault | undefined;
  #closing: Promise<void> | undefined;

  constructor(data: WorkerData, startWriter: StartWriter, options: JournalOptions) {
    this.#options = options;
    this.failed = this.#failed.signal;
    this.opened = this.#opening.promise;
    this.#writer = startWriter(data, {
      message: (message) => this.#receive(message),
      error: (message) => this.#fail(message, "thread"),
      exit: () => {
        this.#fail("its thread has ended", "thread");
        this.#ended.resolve();
      },
    });
  }

  get size(): Journal["size"] {
    return { bytes: this.#status.bytes, records: this.#status.records };
  }

  get health(): Journal["health"] {
    if (this.#failure) return "failed";
    return this.#status.health === "ok" && this.#pendingMs > stalledMs ? "stalled" : this.#status.health;
  }

  /** A sync that has not come back yet counts with the time it has taken so far. */
  get syncMs(): Journal["syncMs"] {
    const { last, max } = this.#status.syncMs;
    const pending = this.#pendingMs;
    return { last: Math.max(last, pending), max: Math.max(max, pending) };
  }

  /** How long the oldest write has been waited for. */
  get #pendingMs(): number {
    const [oldest] = this.#waiting.values();
    return oldest ? this.#options.clock.monotonic() - oldest.since : 0;
  }

  commit(records: readonly JournalRecord[], durability: Durability): Promise<void> {
    if (records.length === 0) return Promise.resolve();
    const refusal = this.#refusal() ?? this.#spaceRefusal(records, durability);
    if (refusal) return Promise.reject(refusal);
    const texts = records.map(({ kind, job, data, text }) => ({ kind, job, data: text ?? JSON.stringify(data) }));
    const bytes = texts.reduce((sum, { data }) => sum + data.length + 100, 0);
    const id = this.#nextId++;
    const written = this.#wait(id, bytes, records.length);
    this.#send({
      type: "commit",
      id,
      at: isoTime(this.#options.clock.now()),
      records: texts,
      durability,
      essential: isEssential(records, durability),
    });
    if (durability === "effect" || durability === "report") return written;
    written.catch((error: unknown) => {
      this.#options.log.warn(
        { err: error, kinds: records.map(({ kind }) => kind) },
        "journal records were not written",
      );
    });
    return Promise.resolve();
  }

  compact(state: string): Promise<void> {
    const refusal = this.#refusal();
    if (refusal) return Promise.reject(refusal);
    const id = this.#nextId++;
    const written = this.#wait(id, state.length, 0);
    this.#send({ type: "compact", id, at: isoTime(this.#options.clock.now()), state });
    return written;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (!this.#failure) {
      const id = this.#nextId++;
      this.#wait(id, 0, 0).catch(() => {});
      this.#send({ type: "close", id });
    }
    const ended = new AbortController();
    void this.#ended.promise.then(() => ended.abort());
    await this.#options.clock.sleep(closeMs, ended.signal);
    this.#failure ??= new Fault("JOURNAL", "the journal is closed");
    this.#writer.end();
  }

  #send(message: ToWorker): void {
    this.#writer.post(message);
  }

  #wait(id: number, bytes: number, records: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#queuedBytes += bytes;
    this.#waiting.set(id, { since: this.#options.clock.monotonic(), bytes, records, resolve, reject });
    return promise;
  }

  #refusal(): Fault | undefined {
    if (this.#failure) return this.#failure;
    if (this.#closing) return new Fault("JOURNAL", "the journal is closed");
    if (this.#queuedBytes > maxQueuedBytes) {
      return this.#fault("the disk of the journal does not keep up", "stalled");
    }
    return undefined;
  }

  #spaceRefusal(records: readonly JournalRecord[], durability: Durability): Fault | undefined {
    const { health } = this.#status;
    if (health === "ok" || isEssential(records, durability)) return undefined;
    const what = health === "no-quota" ? "the quota of the journal is used up" : "the disk of the journal is full";
    return this.#fault(`${what}; only ends and acknowledgements are recorded`, health);
  }

  #fault(message: string, reason: string): Fault {
    const { directory } = this.#options;
    const hint = fullReasons.has(reason)
      ? `free space, inodes or quota below '${directory}'`
      : `look at the disk of '${directory}', then restart the agent: it reads the journal again`;
    return new Fault("JOURNAL", `cannot write '${directory}': ${message}`, { hint, details: { directory, reason } });
  }

  #receive(message: FromWorker): void {
    switch (message.type) {
      case "begin":
      case "records":
        this.#read(message);
        break;
      case "opened":
        this.#status = message.status;
        this.#opening.resolve({ repair: this.#withUnreadable(message.repair) });
        break;
      case "open-failed": {
        const { code, hint, details } = message;
        const text = code === "JOURNAL" ? `cannot open the journal: ${message.message}` : message.message;
        this.#failure = new Fault(code, text, { hint, details });
        this.#opening.reject(this.#failure);
        break;
      }
      case "done":
        this.#status = message.status;
        for (const id of message.ids) this.#settle(id)?.resolve();
        break;
      case "refused": {
        this.#status = message.status;
        const fault = this.#fault(message.message, message.reason);
        for (const id of message.ids) this.#settle(id)?.reject(fault);
        break;
      }
      case "failed":
        this.#fail(message.message, message.reason);
        break;
      case "status":
        this.#reportHealth(message.status);
        this.#status = message.status;
        break;
      case "warning":
        this.#options.log.error(message.data, message.message);
        break;
    }
  }

  #read(message: Extract<FromWorker, { type: "begin" | "records" }>): void {
    try {
      if (message.type === "begin") this.#begin(message.state);
      else this.#takeRecords(message.lines);
    } catch (error) {
      // What the reader cannot take is no fault of the disk; without it there is no opening.
      this.#opening.reject(error);
      this.#writer.end();
    }
  }

  #begin(state: Uint8Array | undefined): void {
    this.#unreadable = 0;
    this.#options.reader.begin(state && (JSON.parse(Buffer.from(state.buffer).toString("utf8")) as JsonObject));
  }

  #takeRecords(bytes: Uint8Array): void {
    const lines = Buffer.from(bytes.buffer, 0, bytes.length);
    for (let start = 0; start < lines.length;) {
      const end = lines.indexOf(0x0a, start);
      const line = decodeJson(lines.subarray(start, end));
      if (line) this.#options.reader.record(line);
      else this.#unreadable++;
      start = end + 1;
    }
    this.#send({ type: "taken" });
  }

  #withUnreadable(repair: JournalOpening["repair"]): JournalOpening["repair"] {
    if (this.#unreadable === 0 || repair.kind === "salvage") return repair;
    return { kind: "salvage", message: `${this.#unreadable} records that are no JSON were left out` };
  }

  #reportHealth(next: WriterStatus): void {
    if (this.#status.health !== "ok" && next.health === "ok") {
      this.#options.log.info({ directory: this.#options.directory }, "journal has space again");
    }
  }

  #settle(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    if (waiting) this.#queuedBytes -= waiting.bytes;
    this.#waiting.delete(id);
    return waiting;
  }

  #fail(message: string, reason: string): void {
    if (this.#failure) return;
    if (this.#closing && this.#waiting.size === 0) return;
    this.#failure = this.#fault(message, reason);
    if (!this.#closing) this.#options.log.error({ err: this.#failure }, "journal has failed, side effects stop");
    this.#opening.reject(this.#failure);
    for (const id of [...this.#waiting.keys()]) this.#settle(id)?.reject(this.#failure);
    if (!this.#closing) this.#failed.abort(this.#failure);
  }
}

/** What is still taken when the disk is full: ends (durability `report`) and acknowledgements (kinds ending in `ack`). */
function isEssential(records: readonly JournalRecord[], durability: Durability): boolean {
  return durability === "report" || records.every(({ kind }) => kind === "ack" || kind.endsWith(".ack"));
}
