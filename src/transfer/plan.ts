import { Fault, isFault } from "../common/fault.ts";
import { quoted } from "../common/nearest.ts";
import type { CallContext } from "../common/context.ts";
import type { BulkOffers } from "./bulk.ts";
import type { InputCache, WantedFile } from "./cache/index.ts";
import type { Leftovers } from "./leftovers.ts";
import type { TransferPolicy } from "./policy.ts";
import type { TransferRegistry } from "./registry.ts";
import type { RetryOptions } from "./retry.ts";
import type { ManifestEntry, TransferContext, TransferItem, TransferRequest } from "./types.ts";
import { readUrl } from "./urls.ts";

/** What both directions work with. */
export interface TransferDeps {
  readonly policy: TransferPolicy;
  readonly registry: TransferRegistry;
  readonly retry: RetryOptions;
  readonly bulk: BulkOffers;
  readonly cache: InputCache | undefined;
  /** Where lists of files lie that are too long for memory. */
  readonly lists: string;
  /** More files of one direction are refused. */
  readonly mostFiles: number;
  readonly leftovers: Leftovers;
}

/** One file that has to be moved. `move` does one whole file with its retries and returns it complete and verified. */
export interface PlannedFile {
  readonly item: TransferItem;
  /** As in the manifest. */
  readonly path: string;
  /** The far side's host; files of one host share a limit. */
  readonly host: string;
  readonly bytes: number | undefined;
  move(context: TransferContext, report: ByteReport): Promise<MovedFile>;
  /** Gives the copy what is to be preserved besides its content; returns the entry as it is then. */
  preserve?(entry: ManifestEntry): Promise<ManifestEntry>;
  /** Of an input that the cache may hold. */
  readonly shared?: SharedFile | undefined;
}

/** One file and the cache of inputs. */
export interface SharedFile {
  /** Undefined: nothing to find it by. */
  wanted(): WantedFile | undefined;
  /** Gives it its final name from the cache, complete and verified; undefined when it is not there. */
  take(context: CallContext): Promise<MovedFile | undefined>;
  /** Hands a file that was moved to the cache; false when it did not take it. */
  keep(entry: ManifestEntry, context: CallContext): Promise<boolean>;
}

/** Called with the bytes that came on top; negative when a try starts over. */
export type ByteReport = (bytes: number) => void;

export interface MovedFile {
  readonly entry: ManifestEntry;
  /** Bytes that really went over the wire in the try that succeeded. */
  readonly movedBytes: number;
}

/** What takes one place in the queue of its host: one file, or several that go in one go. */
export interface Move {
  readonly host: string;
  readonly files: number;
  /**
   * Moves its files with their retries; the engine hears of each as soon as it is complete. Returns those that have to go one by
   * one after all.
   */
  run(context: TransferContext, hear: MoveListener): Promise<readonly PlannedFile[]>;
}

export interface MoveListener {
  /** Bytes of a file that came on top, as `ByteReport`. */
  moved(file: PlannedFile, bytes: number): void;
  /** Resolves when the file is recorded, or cannot be: then the context aborts. */
  done(file: PlannedFile, moved: MovedFile): Promise<void>;
}

/** Disposed of, it forgets its list. */
export interface TransferPlan extends AsyncDisposable {
  /** What is to be moved. */
  readonly totals: PlanTotals;
  /** All that is to be moved, some thousand files of one item at a time; once. */
  chunks(): AsyncIterable<PlanChunk>;
  /** Already there and still the same. */
  readonly done: { readonly files: number; readonly some: readonly ManifestEntry[] };
  readonly missing: readonly string[];
}

export interface PlanTotals {
  readonly files: number;
  /** Undefined: the size of one is not known. */
  readonly bytes: number | undefined;
  /** What copies will take here at least. */
  readonly copiedBytes: number;
}

export interface PlanChunk {
  readonly files: readonly PlannedFile[];
  /** These of `files`, cut into what is done at a time. */
  readonly moves: (files: readonly PlannedFile[]) => Iterable<Move>;
}

/** What every plan function is called with. */
export interface PlanInput {
  readonly request: TransferRequest;
  readonly deps: TransferDeps;
  readonly context: CallContext;
  /** Runs a call to the far side within the limits of its host. */
  readonly within: <Value>(host: string, call: (context: TransferContext) => Promise<Value>) => Promise<Value>;
}

/** `input 'reads'` or `output 'report'`. */
export function itemName(request: TransferRequest, item: TransferItem): string {
  return `${request.direction === "in" ? "input" : "output"} ${quoted(item.name)}`;
}

/** The limit key of a URL: its host, or its scheme where there is none. */
export function hostOf(url: string): string {
  const reading = readUrl(url);
  if (reading.ok && reading.url.host !== "") return reading.url.host;
  return /^[A-Za-z][A-Za-z0-9+.-]*:/.exec(url)?.[0].toLowerCase() ?? "";
}

/** Runs `check` for every item and throws all their faults as one, so that a person sees every problem at once. */
export function checkEach<Value>(
  items: readonly TransferItem[],
  check: (item: TransferItem) => Value,
): readonly Value[] {
  const values: Value[] = [];
  const failures: Fault[] = [];
  for (const item of items) {
    try {
      values.push(check(item));
    } catch (error) {
      if (!isFault(error)) throw error;
      failures.push(error);
    }
  }
  const [first, ...others] = failures;
  if (!first) return values;
  if (others.length === 0) throw first;
  throw new Fault(first.code, failures.map((fault) => fault.message).join("; "), {
    ...(first.hint === undefined ? {} : { hint: first.hint }),
    details: { problems: failures.map((fault) => ({ code: fault.code, message: fault.message, hint: fault.hint })) },
    cause: first,
  });
}

/** The fault when the bytes of an item exceed its limit. */
export function tooLarge(what: string, maxBytes: number): Fault {
  return new Fault("TRANSFER_REFUSED", `${what} is larger than its max_size of ${maxBytes} bytes`, {
    details: { max_bytes: maxBytes },
  });
}

export function emptyItem(what: string, source: string): Fault {
  return new Fault("TRANSFER_REFUSED", `${what} is required but ${quoted(source, 300)} has no file`, {
    hint: "set 'required: false' on it if it may be absent",
    details: { missing: true, empty: true },
  });
}

/** Compares with what the job promised; throws TRANSFER_REFUSED for a wrong size. */
export function checkSize(what: string, expected: number | undefined, actual: number | undefined): void {
  if (expected === undefined || actual === undefined || expected === actual) return;
  throw new Fault("TRANSFER_REFUSED", `${what} has ${actual} bytes, promised were ${expected}`, {
    details: { expected, actual },
  });
}

/** Order of manifests: by path as code points, then by URL. */
export function byPath(a: ManifestEntry, b: ManifestEntry): number {
  return compare(a.path, b.path) || compare(a.url, b.url) || compare(a.item, b.item);
}

export function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
