import type { Durability, Journal, JournalOpening } from "../journal/types.ts";
import { Book } from "./book.ts";
import { type AgentRecord, toJournal } from "./records.ts";

const compactAfterBytes = 16 * 1024 * 1024;
const compactAfterRecords = 100_000;

/**
 * Journal and book as one: nothing is known in memory before it is on its way to the disk, and nothing that the journal refused
 * is known at all. The only writer of both.
 */
export class Ledger {
  readonly book: Book;
  readonly #journal: Journal;
  #compacting: Promise<void> | undefined;

  constructor(journal: Journal, book: Book) {
    this.#journal = journal;
    this.book = book;
  }

  /** Rebuilds the book from what the journal held. */
  static open(journal: Journal, opening: JournalOpening): Ledger {
    const book = opening.snapshot === undefined ? new Book() : Book.fromSnapshot(opening.snapshot);
    for (const stored of opening.records) book.apply(stored as unknown as AgentRecord);
    return new Ledger(journal, book);
  }

  get journal(): Pick<Journal, "size" | "health" | "syncMs"> {
    return this.#journal;
  }

  /**
   * Writes, then knows. Records of one call survive a crash together or not at all.
   * @throws Fault JOURNAL when the disk refuses: the caller must not go on with the side effect.
   */
  async commit(entries: readonly AgentRecord[], durability: Durability): Promise<void> {
    const stored = entries.map(toJournal);
    await this.#journal.commit(stored, durability);
    for (const entry of stored) this.book.apply(entry as unknown as AgentRecord);
    this.#compactIfLarge();
  }

  /** Writes the book as a new generation now: after salvage, so that the damage is behind us. */
  async compact(): Promise<void> {
    await this.#compacting;
    await this.#journal.compact(this.book.snapshot());
  }

  async close(): Promise<void> {
    await this.#compacting;
    await this.#journal[Symbol.asyncDispose]();
  }

  #compactIfLarge(): void {
    const { bytes, records } = this.#journal.size;
    if (this.#compacting || (bytes < compactAfterBytes && records < compactAfterRecords)) return;
    // The snapshot is taken now, in the same turn as the last apply: journal order and book agree.
    this.#compacting = this.#journal
      .compact(this.book.snapshot())
      .catch(() => undefined)
      .finally(() => {
        this.#compacting = undefined;
      });
  }
}
