import { throwIfStopped } from "./errors.ts";
import { type Stretch, Tape } from "./tape.ts";

/** Rows that are sorted in memory at a time. */
const sortedAtOnce = 10_000;

export interface SortedRowsOptions {
  /** For what does not fit into memory. */
  readonly directory: string;
  readonly signal: AbortSignal;
  /** Rows that are sorted in memory at a time; fewer for tests. */
  readonly atOnce?: number;
}

/**
 * Rows of any number that come in no order and are read back in the order of their keys (code units; equal ones as they came), in
 * bounded memory: sorted runs go to a file and are merged.
 */
export class SortedRows<Row> implements AsyncDisposable {
  readonly #keyOf: (row: Row) => string;
  readonly #signal: AbortSignal;
  readonly #atOnce: number;
  readonly #tape: Tape<Row>;
  readonly #runs: Stretch[] = [];
  #come: Keyed<Row>[] = [];
  #count = 0;

  constructor(keyOf: (row: Row) => string, { directory, signal, atOnce = sortedAtOnce }: SortedRowsOptions) {
    this.#keyOf = keyOf;
    this.#signal = signal;
    this.#atOnce = atOnce;
    this.#tape = new Tape(directory);
  }

  get count(): number {
    return this.#count;
  }

  async add(row: Row): Promise<void> {
    this.#count++;
    this.#come.push({ key: this.#keyOf(row), row });
    if (this.#come.length >= this.#atOnce) await this.#putAside();
  }

  /** All rows; nothing may be added any more. */
  async *sorted(): AsyncGenerator<Row> {
    const rest = this.#come.toSorted(byKey);
    if (this.#runs.length === 0) {
      for (const { row } of rest) yield row;
      return;
    }
    const runs = this.#runs.map((run) => this.#tape.read(run));
    const merging = new Merging([...runs, rowsOf(rest)], this.#keyOf);
    for (let next = await merging.next(); next; next = await merging.next()) yield next.row;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tape[Symbol.asyncDispose]();
  }

  async #putAside(): Promise<void> {
    throwIfStopped(this.#signal);
    const run = this.#come.toSorted(byKey);
    this.#come = [];
    const begin = this.#tape.mark;
    for (const { row } of run) await this.#tape.add(row);
    this.#runs.push({ begin, end: this.#tape.mark });
  }
}

interface Keyed<Row> {
  readonly key: string;
  readonly row: Row;
}

function byKey(a: { readonly key: string }, b: { readonly key: string }): number {
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
}

async function* rowsOf<Row>(keyed: readonly Keyed<Row>[]): AsyncGenerator<Row> {
  for (const { row } of keyed) yield row;
}

interface Head<Row> extends Keyed<Row> {
  readonly run: number;
}

/** The next rows of several sorted runs, the least on top (a binary heap). */
class Merging<Row> {
  readonly #runs: readonly AsyncIterator<Row>[];
  readonly #keyOf: (row: Row) => string;
  #heap: Head<Row>[] | undefined;

  constructor(runs: readonly AsyncIterator<Row>[], keyOf: (row: Row) => string) {
    this.#runs = runs;
    this.#keyOf = keyOf;
  }

  async next(): Promise<Head<Row> | undefined> {
    this.#heap ??= await this.#firsts();
    const heap = this.#heap;
    const [least] = heap;
    if (!least) return undefined;
    const following = (await this.#headOf(least.run)) ?? heap.pop();
    // The last of the heap may be the least itself.
    if (following && heap.length > 0) {
      heap[0] = following;
      sink(heap);
    }
    return least;
  }

  /** In order, which is a heap. */
  async #firsts(): Promise<Head<Row>[]> {
    const heads = await Promise.all(this.#runs.map((_, run) => this.#headOf(run)));
    return heads.filter((head) => head !== undefined).toSorted(before);
  }

  async #headOf(run: number): Promise<Head<Row> | undefined> {
    const next = await this.#runs[run]?.next();
    return next === undefined || next.done === true
      ? undefined
      : { key: this.#keyOf(next.value), row: next.value, run };
  }
}

/** Equal ones in the order of the runs, which is that in which they came. */
function before<Row>(a: Head<Row>, b: Head<Row>): number {
  return byKey(a, b) || a.run - b.run;
}

function sink<Row>(heap: Head<Row>[]): void {
  for (let at = 0; ;) {
    let least = at;
    for (const child of [2 * at + 1, 2 * at + 2]) {
      const [one, other] = [heap[child], heap[least]];
      if (one && other && before(one, other) < 0) least = child;
    }
    const [here, there] = [heap[at], heap[least]];
    if (least === at || !here || !there) return;
    heap[at] = there;
    heap[least] = here;
    at = least;
  }
}
