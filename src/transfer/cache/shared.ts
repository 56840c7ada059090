import PQueue from "p-queue";
import type { CallContext } from "../../common/context.ts";
import { throwIfStopped } from "../errors.ts";
import type { MovedFile, PlannedFile } from "../plan.ts";
import type { Flight, Landed } from "./flights.ts";
import type { InputCache } from "./index.ts";

/** Files that are looked for, taken up, or waited for, at the same time. */
const lookedAtOnce = 8;
const keptAtOnce = 4;
const awaitedAtOnce = 64;
/** Files of one run that wait to be taken up; then it is waited for them. */
const mostWaiting = 256;

/** One run of the engine. */
export interface SharingRun {
  /** Its signal ends with the run, for whatever reason. */
  readonly context: CallContext;
  /** Whether its end is that of its job, and says nothing of its files. */
  readonly cancelled: boolean;
  /** Records a file that was had without moving it. Never rejects. */
  taken(file: PlannedFile, moved: MovedFile): Promise<void>;
}

/** What a run has not to fetch itself. */
export interface Sorted {
  readonly taken: readonly PlannedFile[];
  /** Other jobs are fetching these. */
  readonly follow: readonly PlannedFile[];
}

/**
 * A run's share in the cache: what is there is taken, what somebody fetches is waited for, what nobody fetches is announced. It
 * waits only for what others have announced, and fetches what it announced meanwhile: so no two runs wait for each other.
 */
export class SharedInputs implements AsyncDisposable {
  readonly #cache: InputCache | undefined;
  readonly #run: SharingRun;
  readonly #flights = new Map<PlannedFile, Flight>();
  readonly #keeping = new PQueue({ concurrency: keptAtOnce });

  constructor(cache: InputCache | undefined, run: SharingRun) {
    this.#cache = cache;
    this.#run = run;
  }

  /** What is in neither list is to be fetched by the run itself. */
  async sort(files: readonly PlannedFile[]): Promise<Sorted> {
    const taken: PlannedFile[] = [];
    const follow: PlannedFile[] = [];
    if (!this.#cache) return { taken, follow };
    await each(files, lookedAtOnce, async (file) => {
      if (this.#run.context.signal.aborted) return;
      const moved = await file.shared?.take(this.#run.context);
      if (moved) {
        await this.#run.taken(file, moved);
        taken.push(file);
      } else if (!this.#announce(file)) follow.push(file);
    });
    return { taken, follow };
  }

  /** Waits for those who fetch these; `fetch` is called, and awaited, for what is not in the cache then. */
  async followAll(files: readonly PlannedFile[], fetch: (file: PlannedFile) => Promise<void>): Promise<void> {
    await each(files, awaitedAtOnce, async (file) => {
      if (this.#run.context.signal.aborted) return;
      const moved = await this.#follow(file);
      if (moved) await this.#run.taken(file, moved);
      else await fetch(file);
    });
  }

  /** A file that this run fetched: it is taken up meanwhile, and those who wait for it go on. */
  async moved(file: PlannedFile, { entry }: MovedFile): Promise<void> {
    const { shared } = file;
    if (!shared) return;
    await this.#keeping.onSizeLessThan(mostWaiting);
    void this.#keeping.add(async () => {
      let landed: Landed = "lost";
      try {
        if (await shared.keep(entry, this.#run.context)) landed = "kept";
      } catch {
        landed = "stopped"; // with the run, which says so itself
      }
      this.#end(file, landed);
    });
  }

  /** All that was moved is taken up. */
  async settled(): Promise<void> {
    await this.#keeping.onIdle();
  }

  /** What was announced and has not come. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.settled();
    for (const file of this.#flights.keys()) this.#end(file, this.#run.cancelled ? "stopped" : "lost");
  }

  #end(file: PlannedFile, landed: Landed): void {
    this.#flights.get(file)?.end(landed);
    this.#flights.delete(file);
  }

  /** True when this run is to fetch it; also where nothing says which file it is. */
  #announce(file: PlannedFile): boolean {
    const key = file.shared?.wanted()?.key;
    if (key === undefined) return true;
    const flight = this.#cache?.flights.begin(key);
    if (flight) this.#flights.set(file, flight);
    return flight !== undefined;
  }

  /** Undefined: it has to be fetched by this run. */
  async #follow(file: PlannedFile): Promise<MovedFile | undefined> {
    for (let landed: Landed | undefined; ;) {
      const key = file.shared?.wanted()?.key;
      const ended = key === undefined ? undefined : this.#cache?.flights.following(key);
      if (ended && landed !== "lost") {
        landed = await unlessStopped(ended, this.#run.context.signal);
        continue;
      }
      const moved = landed === "lost" ? undefined : await file.shared?.take(this.#run.context);
      // It was tried and came to nothing: now each for itself, rather than one after the other.
      if (moved || this.#announce(file) || landed === "lost" || landed === "kept") return moved;
    }
  }
}

/** Throws CANCELLED when the signal aborts first. */
async function unlessStopped<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  throwIfStopped(signal);
  const stopped = Promise.withResolvers<undefined>();
  const stop = (): void => stopped.resolve(undefined);
  signal.addEventListener("abort", stop, { once: true });
  try {
    const value = await Promise.race([promise.then((found) => ({ found })), stopped.promise]);
    if (value) return value.found;
    throwIfStopped(signal);
    return await promise;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/** All have ended when it returns or throws the first error. */
async function each<Item>(items: Iterable<Item>, atOnce: number, call: (item: Item) => Promise<void>): Promise<void> {
  const rest = items[Symbol.iterator]();
  const worker = async (): Promise<void> => {
    for (let next = rest.next(); next.done !== true; next = rest.next()) await call(next.value);
  };
  const results = await Promise.allSettled(Array.from({ length: atOnce }, worker));
  for (const result of results) if (result.status === "rejected") throw result.reason;
}
