import { randomFillSync } from "node:crypto";
import { join } from "node:path";
import type { Clock } from "../common/clock.ts";
import { errnoOf } from "../common/fault.ts";
import { failpoint } from "../common/failpoint.ts";
import { type Disk, writeAll } from "./disk.ts";
import { encodeLine } from "./format.ts";
import type { CommitMessage, WriterStatus } from "./messages.ts";
import {
  generationPath,
  headerLine,
  type HeaderSource,
  listGenerations,
  type Opened,
  placeGeneration,
} from "./generations.ts";

/** File that holds space for a full disk. */
export const ballastName = "ballast";

/** The one writer of the journal's file; lives in the writing thread, so that its calls may block. */
export class Writer {
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #source: HeaderSource;
  readonly #ballastPath: string;
  readonly #ballastBytes: number;
  #generation: number;
  #file: number;
  #end: number;
  #headerBytes: number;
  #lastSeq: number;
  #records: number;
  #health: WriterStatus["health"] = "ok";
  #lastSyncMs = 0;
  #maxSyncMs = 0;

  constructor(
    { disk, clock }: { readonly disk: Disk; readonly clock: Clock },
    source: HeaderSource,
    opened: Opened,
    ballastBytes: number,
  ) {
    this.#disk = disk;
    this.#clock = clock;
    this.#source = source;
    this.#ballastPath = join(source.directory, ballastName);
    this.#ballastBytes = ballastBytes;
    this.#generation = opened.generation;
    this.#file = opened.file;
    this.#end = opened.end;
    this.#headerBytes = opened.headerBytes;
    this.#lastSeq = opened.lastSeq;
    this.#records = opened.recordCount;
  }

  get status(): WriterStatus {
    return {
      bytes: this.#end - this.#headerBytes,
      records: this.#records,
      health: this.#health,
      syncMs: { last: this.#lastSyncMs, max: this.#maxSyncMs },
    };
  }

  /**
   * Appends the commits, in order and each as one group, without a sync. When the call throws nothing of it is in the file.
   */
  async append(commits: readonly CommitMessage[]): Promise<void> {
    let seq = this.#lastSeq;
    const lines: Buffer[] = [];
    for (const { records, at } of commits) {
      let left = records.length;
      for (const record of records) lines.push(encodeLine({ ...record, seq: ++seq, at, left: --left }));
    }
    const bytes = Buffer.concat(lines);
    await failpoint("journal.before-write");
    try {
      writeAll(this.#disk, this.#file, bytes, this.#end);
    } catch (error) {
      this.#disk.truncate(this.#file, this.#end);
      throw error;
    }
    this.#end += bytes.length;
    this.#lastSeq = seq;
    this.#records += lines.length;
    await failpoint("journal.after-write");
  }

  /** Any error of this is final for the file: the kernel may have dropped the pages, a second sync would lie. */
  async sync(): Promise<void> {
    await failpoint("journal.before-sync");
    const start = this.#clock.monotonic();
    this.#disk.sync(this.#file);
    this.#lastSyncMs = this.#clock.monotonic() - start;
    this.#maxSyncMs = Math.max(this.#maxSyncMs, this.#lastSyncMs);
    await failpoint("journal.after-sync");
  }

  /** Starts the next generation with `state` (JSON text) as its snapshot; the one before stays, older ones go. */
  async compact(state: string, at: string): Promise<void> {
    const generation = this.#generation + 1;
    const header = headerLine(this.#source, generation, this.#lastSeq + 1, at, state);
    const placed = await placeGeneration(this.#disk, this.#source.directory, generation, async (append) =>
      append(header),
    );
    this.#disk.close(this.#file);
    this.#file = placed.descriptor;
    this.#generation = generation;
    this.#end = placed.bytes;
    this.#headerBytes = placed.bytes;
    this.#lastSeq++;
    this.#records = 0;
    await failpoint("journal.before-remove");
    for (const old of listGenerations(this.#disk, this.#source.directory)) {
      if (old < generation - 1) this.#disk.remove(generationPath(this.#source.directory, old));
    }
    await failpoint("journal.after-remove");
  }

  /** Gives up the ballast, so that ends and acks can still be written. `error` is what the disk said. */
  dropBallast(error: unknown): void {
    this.#health = shortageOf(error);
    this.#disk.remove(this.#ballastPath);
  }

  /**
   * Makes the ballast if it is not there and the disk has room for it twice; true when it is there afterwards. Real bytes:
   * file systems that compress or leave holes would reserve nothing for zeros.
   */
  makeBallast(): boolean {
    if (this.#disk.size(this.#ballastPath) === this.#ballastBytes) {
      this.#health = "ok";
      return true;
    }
    this.#health = "no-space";
    if (this.#disk.free(this.#source.directory) < this.#ballastBytes * 2) return false;
    try {
      const file = this.#disk.open(this.#ballastPath, "w");
      try {
        writeAll(this.#disk, file, randomFillSync(Buffer.allocUnsafe(this.#ballastBytes)), 0);
        this.#disk.sync(file);
      } finally {
        this.#disk.close(file);
      }
    } catch (error) {
      this.#health = shortageOf(error);
      this.#disk.remove(this.#ballastPath);
      return false;
    }
    this.#health = "ok";
    return true;
  }

  close(): void {
    this.#disk.close(this.#file);
  }

  /** As `close`, whatever the disk says: it has failed before. */
  giveUp(): void {
    try {
      this.close();
    } catch {
      // not open any more
    }
  }
}

function shortageOf(error: unknown): "no-space" | "no-quota" {
  return errnoOf(error) === "EDQUOT" ? "no-quota" : "no-space";
}
