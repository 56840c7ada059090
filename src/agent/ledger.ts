import { isFault } from "../common/fault.ts";
import { fullReasons } from "../journal/full.ts";
import type { JsonObject } from "../common/json.ts";
import type { Durability, Journal, JournalReader, StoredRecord } from "../journal/types.ts";
import { Book } from "./book.ts";
import { type AgentRecord, toJournal } from "./records.ts";

export interface LedgerLimits {
  /** Bytes and records since the last snapshot above which a new one is written. */
  readonly compactAfterBytes: number;
  readonly compactAfterRecords: number;
}
const usualLimits: LedgerLimits = { compactAfterBytes: 16 * 1024 * 1024, compactAfterRecords: 100_000 };

/** Rebuilds the book from what the journal holds while that is read. */
export class BookReader implements JournalReader {
  book = new Book();

  begin(snapshot: JsonObject | undefined): void {
    this.book = snapshot === undefined ? new Book() : Book.fromSnapshot(snapshot);
  }

  record(record: StoredRecord): void {
    this.book.apply(record as unknown as AgentRecord);
  }
}

/**
 * Journal and book as one: nothing is known in memory before it is on its way to the disk, and the book takes changes in the order of
 * the file, so that a replay gives the same. What the journal refuses is not known at all, but for records of the classes `group` and
 * `lazy` that were on their way when the disk became full: they are known until the next start, which finds out anew what they
 * said (acknowledgements, closed orders, void claims). The only writer of both.
 */
export class Ledger {
  readonly book: Book;
  readonly #journal: Journal;
  readonly #limits: LedgerLimits;
  /** Ends when all commits so far are in the book; never rejects. */
  #tail: Promise<void> = Promise.resolve();
  /** Set while a snapshot waits for the commits under way: later ones wait for it. */
  #gate: Promise<void> | undefined;
  #compacting: Promise<void> | undefined;
  /** What the last snapshot left in the file. */
  #kept = { bytes: 0, records: 0 };

  constructor(journal: Journal, book: Book, limits: LedgerLimits = usualLimits) {
    this.#journal = journal;
    this.book = book;
    this.#limits = limits;
  }

  get journal(): Pick<Journal, "size" | "health" | "syncMs"> {
    return this.#journal;
  }

  /**
   * Writes, then knows. Records of one call survive a crash together or not at all.
   * @throws Fault JOURNAL when the disk refuses: the caller must not go on with the side effect.
   */
  async commit(entries: readonly AgentRecord[], durability: Durability): Promise<void> {
    while (this.#gate) await this.#gate;
    const stored = entries.map(toJournal);
    const applied = this.#applyInTurn(stored, this.#journal.commit(stored, durability), this.#tail);
    this.#tail = applied.catch(() => undefined);
    await applied;
    this.#compactIfLarge();
  }

  /** Writes the book as a new generation now: after salvage, so that the damage is behind us. */
  async compact(): Promise<void> {
    await this.#compacting;
    await this.#writeSnapshot();
  }

  async close(): Promise<void> {
    await this.#compacting;
    await this.#journal[Symbol.asyncDispose]();
  }

  /** Written in the background sooner than a record before it that has to be synced: known only after that one all the same. */
  async #applyInTurn(
    stored: readonly ReturnType<typeof toJournal>[],
    written: Promise<void>,
    before: Promise<void>,
  ): Promise<void> {
    await Promise.all([written, before]);
    for (const entry of stored) this.book.apply(entry as unknown as AgentRecord);
  }

  #compactIfLarge(): void {
    const { bytes, records } = this.#journal.size;
    const { compactAfterBytes, compactAfterRecords } = this.#limits;
    // A large book is written anew when it has doubled: with a fixed limit it would be after every commit.
    const isSmall =
      bytes - this.#kept.bytes < Math.max(compactAfterBytes, this.#kept.bytes) &&
      records - this.#kept.records < Math.max(compactAfterRecords, this.#kept.records);
    if (this.#compacting || isSmall) return;
    this.#compacting = this.#writeSnapshot()
      .catch(() => undefined)
      .finally(() => {
        this.#compacting = undefined;
      });
  }

  /** What is in the file before the snapshot is in the snapshot: no commit may be between file and book when it is taken. */
  async #writeSnapshot(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#gate = promise;
    let written: Promise<void>;
    try {
      await this.#tail;
      written = this.#journal.compact(this.book.snapshot());
    } finally {
      this.#gate = undefined;
      resolve();
    }
    await written;
    this.#kept = this.#journal.size;
  }
}

/** The journal is dead: the process has to end and read it again. A full disk is not that: it waits for space. */
export function isJournalDead(error: unknown): boolean {
  return isFault(error, "JOURNAL") && !isDiskFull(error);
}

export function isDiskFull(error: unknown): boolean {
  if (!isFault(error, "JOURNAL")) return false;
  const reason = error.details?.["reason"];
  return typeof reason === "string" && fullReasons.has(reason);
}
