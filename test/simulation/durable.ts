import { Book } from "../../src/agent/book.ts";
import type { AgentRecord } from "../../src/agent/records.ts";
import { scanBytes } from "../../src/journal/format.ts";
import type { JsonObject } from "../../src/common/json.ts";
import { journalDirectory, type SimulatedDisk } from "./disk.ts";

/**
 * What an agent would know after the end of power at this moment, if nothing survived but what was synced: the fold of the durable
 * bytes of the newest generation. Read anew when the disk has synced something since.
 */
export class DurableBook {
  readonly #disk: SimulatedDisk;
  #stale = true;
  #book = new Book();
  #name = "";
  #length = 0;

  constructor(disk: SimulatedDisk) {
    this.#disk = disk;
    disk.onDurable = () => {
      this.#stale = true;
    };
  }

  get book(): Book {
    if (this.#stale) this.#read();
    return this.#book;
  }

  /** Power was lost, or somebody else changed the disk. */
  forget(): void {
    this.#stale = true;
    this.#name = "";
  }

  #read(): void {
    this.#stale = false;
    const files = this.#disk.durable(journalDirectory);
    const name = [...files.keys()]
      .filter((file) => /^journal\.\d{8}\.log$/.test(file))
      .sort()
      .at(-1);
    const bytes = name === undefined ? undefined : files.get(name);
    if (name === undefined || !bytes) {
      this.#book = new Book();
      this.#name = "";
      return;
    }
    const isLonger = name === this.#name && bytes.length >= this.#length;
    if (isLonger) this.#append(bytes.subarray(this.#length));
    else this.#whole(bytes);
    this.#name = name;
    this.#length = bytes.length;
  }

  #whole(bytes: Buffer): void {
    this.#book = new Book();
    this.#scan(bytes);
  }

  /** New lines of a file that was read before: a scan of them alone lacks only the header. */
  #append(bytes: Buffer): void {
    if (bytes.length > 0) this.#scan(bytes);
  }

  #scan(bytes: Buffer): void {
    scanBytes(bytes, {
      header: ({ state }) => {
        if (state) this.#book = Book.fromSnapshot(JSON.parse(state.toString()) as JsonObject);
      },
      record: (json, { kind }) => {
        if (!kind.startsWith("journal.")) this.#book.apply(JSON.parse(json.toString()) as AgentRecord);
      },
    });
  }
}
