/** What both directions know of the files of a run before they move, in bounded memory. */
import { refuseTooMany } from "./errors.ts";
import { type FoldedPath, foldedPath, refuseNeighbours } from "./paths.ts";
import type { PlanInput, PlanTotals } from "./plan.ts";
import { SortedRows, type SortedRowsOptions } from "./sorted-rows.ts";
import { Tape } from "./tape.ts";
import type { ManifestEntry } from "./types.ts";

/** Files of one item that are looked at, and cut into moves, at a time: of each kind of bulk transfer a few whole groups. */
const chunkFiles = 10_000;
/** Entries of a manifest that are told in the end when there are more. */
export const shownEntries = 1_000;

/** How rows of a run are sorted. */
export function sortingOf({ deps, context }: PlanInput): SortedRowsOptions {
  return { directory: deps.lists, signal: context.signal };
}

/** The files of a run that are to be moved, item by item, and a word on those that lie there already. */
export class PlanList<Row> implements AsyncDisposable {
  readonly #input: PlanInput;
  readonly #wanted: Tape<Row>;
  readonly #names: SortedRows<FoldedPath>;
  /** Where the rows of each item lie. */
  readonly #items: { readonly begin: number; readonly end: number }[] = [];
  #files = 0;
  #bytes: number | undefined = 0;
  #copiedBytes = 0;
  #done = 0;
  readonly #someDone: ManifestEntry[] = [];

  constructor(input: PlanInput) {
    this.#input = input;
    this.#wanted = new Tape(input.deps.lists);
    this.#names = new SortedRows(({ folded }) => folded, sortingOf(input));
  }

  get totals(): PlanTotals {
    return { files: this.#files, bytes: this.#bytes, copiedBytes: this.#copiedBytes };
  }

  get done(): { readonly files: number; readonly some: readonly ManifestEntry[] } {
    return { files: this.#done, some: this.#someDone };
  }

  /** @throws Fault TRANSFER_REFUSED when so many are to come that they are too many together with those before. */
  expect(what: string, files: number): void {
    refuseTooMany(what, this.#files + this.#done + files, this.#input.deps.mostFiles);
  }

  /** A name that no other file may have. */
  async take(name: string): Promise<void> {
    await this.#names.add(foldedPath(name));
  }

  async want(row: Row, bytes: number | undefined, copied: boolean): Promise<void> {
    this.#files++;
    this.#bytes = this.#bytes === undefined || bytes === undefined ? undefined : this.#bytes + bytes;
    if (copied) this.#copiedBytes += bytes ?? 0;
    await this.#wanted.add(row);
  }

  isDone(entry: ManifestEntry): void {
    this.#done++;
    if (this.#someDone.length < shownEntries) this.#someDone.push(entry);
  }

  /** All rows of the next item have come. */
  endItem(): void {
    this.#items.push({ begin: this.#items.at(-1)?.end ?? 0, end: this.#wanted.mark });
  }

  /** @throws Fault UNSAFE_PATH when two names are the same somewhere, or one is a directory of another. */
  async refuseCollisions(field: string): Promise<void> {
    let last: FoldedPath | undefined;
    for await (const name of this.#names.sorted()) {
      if (last) refuseNeighbours(last, name, field);
      last = name;
    }
    await this.#names[Symbol.asyncDispose]();
  }

  /** The rows with the number of their item. */
  async *chunks(): AsyncGenerator<{ readonly item: number; readonly rows: readonly Row[] }> {
    for (const [item, stretch] of this.#items.entries()) {
      let rows: Row[] = [];
      for await (const row of this.#wanted.read(stretch)) {
        rows.push(row);
        if (rows.length < chunkFiles) continue;
        yield { item, rows };
        rows = [];
      }
      if (rows.length > 0) yield { item, rows };
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#names[Symbol.asyncDispose]();
    await this.#wanted[Symbol.asyncDispose]();
  }
}

interface KnownRow {
  readonly item: number;
  readonly entry: ManifestEntry;
}

/** What an earlier run has verified, met by the files of this one, both sorted. */
export class KnownFiles implements AsyncDisposable {
  readonly #rows: SortedRows<KnownRow>;
  readonly #sorted: AsyncGenerator<KnownRow>;
  #next: KnownRow | undefined;

  private constructor(rows: SortedRows<KnownRow>) {
    this.#rows = rows;
    this.#sorted = rows.sorted();
  }

  static async of(input: PlanInput): Promise<KnownFiles> {
    const { items, known } = input.request;
    const numbers = new Map(items.map(({ name }, number) => [name, number]));
    const rows = new SortedRows<KnownRow>(({ item, entry }) => keyOf(item, entry.path), sortingOf(input));
    try {
      for await (const entry of known) {
        const item = numbers.get(entry.item);
        if (item !== undefined) await rows.add({ item, entry });
      }
    } catch (error) {
      await rows[Symbol.asyncDispose]();
      throw error;
    }
    return new KnownFiles(rows);
  }

  /** The latest entry of a file; to be asked by number of the item, then by path. */
  async find(item: number, path: string): Promise<ManifestEntry | undefined> {
    const key = keyOf(item, path);
    let found: ManifestEntry | undefined;
    for (;;) {
      this.#next ??= (await this.#sorted.next()).value as KnownRow | undefined;
      if (!this.#next) return found;
      const next = keyOf(this.#next.item, this.#next.entry.path);
      if (next > key) return found;
      if (next === key) found = this.#next.entry;
      this.#next = undefined;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#rows[Symbol.asyncDispose]();
  }
}

/** Code units below those of all numbers, so that the order is that of the numbers and then of the paths. */
function keyOf(item: number, path: string): string {
  return `${String(item).padStart(9, "0")}\0${path}`;
}
