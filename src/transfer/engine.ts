import { mkdir, opendir, rm } from "node:fs/promises";
import type { CallContext } from "../common/context.ts";
import { failpoint } from "../common/failpoint.ts";
import { asFault, Fault, errnoOf, isFault } from "../common/fault.ts";
import type { Token } from "../common/token.ts";
import { BulkOffers, singleMove } from "./bulk.ts";
import { SharedInputs, type SharingRun } from "./cache/shared.ts";
import type { InputCache } from "./cache/index.ts";
import { Crowd } from "./crowd.ts";
import { Leftovers } from "./leftovers.ts";
import { isFull, throwIfStopped, transferFault } from "./errors.ts";
import { isPartialName, openDirectoryBelow } from "./paths.ts";
import { shownEntries } from "./plan-list.ts";
import { byPath, type Move, type MovedFile, type PlannedFile, type PlanInput, type TransferPlan } from "./plan.ts";
import type { TransferPolicy, Verdict } from "./policy.ts";
import { ProgressMeter } from "./progress.ts";
import type { TransferRegistry } from "./registry.ts";
import { defaultRetry, type RetryOptions } from "./retry.ts";
import { RemoteRun, Remotes } from "./remotes.ts";
import { checkSpace } from "./space.ts";
import { planStageIn } from "./stage-in.ts";
import { planStageOut } from "./stage-out.ts";
import { Sweeper } from "./sweeper.ts";
import type {
  ManifestEntry,
  RemoteLimits,
  TransferContext,
  TransferEngine,
  TransferOutcome,
  TransferRequest,
} from "./types.ts";

export interface TransferEngineOptions {
  readonly policy: TransferPolicy;
  /** Disposed of with the engine. */
  readonly registry: TransferRegistry;
  /** By the host of a remote, as URLs have it. */
  readonly limits?: (host: string) => RemoteLimits | undefined;
  readonly retry?: Partial<RetryOptions>;
  /** Inputs that earlier jobs fetched; outlives the engine. */
  readonly cache?: InputCache | undefined;
  /** Whose turn it is among jobs of very many files. */
  readonly crowd?: Crowd | undefined;
  /** Absolute; where lists of files lie that are too long for memory, without names. Not in memory itself, as /tmp may be. */
  readonly lists: string;
  /** Files of one job's inputs, or outputs; more are refused. */
  readonly mostFiles?: number | undefined;
  /** What jobs may have left at destinations; outlives the engine. */
  readonly leftovers?: Leftovers | undefined;
}

/** Memory does not grow with the number of files, but time and directories do: more than so many were not tried. */
const usualMostFiles = 1_000_000;

/** The engine that all adapters share. One per agent: the limits per host hold over all its jobs. */
export function createTransferEngine(options: TransferEngineOptions): TransferEngine {
  return new Engine(options);
}

/** Moves of one run waiting in a queue; keeps a million small files from becoming a million promises. */
const mostWaiting = 64;
/** Files of one run that are in memory because they move or wait, whole groups of bulk transfers included. */
const mostAtOnce = 20_000;

class Engine implements TransferEngine {
  readonly #policy: TransferPolicy;
  readonly #registry: TransferRegistry;
  readonly #retry: RetryOptions;
  readonly #bulk = new BulkOffers();
  readonly #cache: InputCache | undefined;
  readonly #crowd: Crowd;
  readonly #remotes: Remotes;
  readonly #lists: string;
  readonly #mostFiles: number;
  readonly #leftovers: Leftovers;
  readonly #sweeper: Sweeper;

  constructor(options: TransferEngineOptions) {
    this.#policy = options.policy;
    this.#registry = options.registry;
    this.#remotes = new Remotes(options.limits ?? (() => undefined));
    this.#retry = { ...defaultRetry, ...options.retry };
    this.#cache = options.cache;
    this.#crowd = options.crowd ?? new Crowd();
    this.#lists = options.lists;
    this.#mostFiles = options.mostFiles ?? usualMostFiles;
    this.#leftovers = options.leftovers ?? new Leftovers();
    this.#sweeper = new Sweeper(this.#leftovers, this.#registry);
  }

  async run(request: TransferRequest, context: CallContext): Promise<TransferOutcome> {
    throwIfStopped(context.signal);
    const turns = new RemoteRun(request.token, request.onWait);
    try {
      const input: PlanInput = {
        request,
        context,
        deps: {
          policy: this.#policy,
          registry: this.#registry,
          retry: this.#retry,
          bulk: this.#bulk,
          cache: this.#cache,
          lists: this.#lists,
          mostFiles: this.#mostFiles,
          leftovers: this.#leftovers,
        },
        within: (host, call) => this.#remotes.within(host, turns, context, call),
      };
      if (request.direction === "in") await mkdir(request.root, { recursive: true });
      const wasCut = request.direction === "out" && (await this.#leftovers.has(request.token));
      await using plan = await (request.direction === "in" ? planStageIn(input) : planStageOut(input));
      using _entered = await this.#turn(plan, context);
      if (request.direction === "in") await this.#checkSpace(plan, request, context);
      const outcome = await this.#moveAll(plan, request, turns, context);
      // Parts of a source's earlier version are of no use any more.
      if (request.direction === "in" && plan.totals.files > 0) await this.clean(request.token, request.root, context);
      // What an earlier run left may be of an earlier version as well: that is removed when the job is over.
      if (request.direction === "out" && !wasCut) await this.#leftovers.drop(request.token);
      return outcome;
    } catch (error) {
      throwIfStopped(context.signal);
      throw transferFault(error, `${request.direction === "in" ? "stage-in" : "stage-out"} of '${request.token}'`);
    }
  }

  async clean(token: Token, root: string, context: CallContext): Promise<void> {
    await failpoint("transfer.before-clean");
    try {
      await cleanDirectory(token, root, [], context);
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") throw transferFault(error, `partial files of '${token}'`);
    }
    await failpoint("transfer.after-clean");
  }

  judgeSource(url: string): Verdict {
    const verdict = this.#policy.explain(url, "sources");
    if (!verdict.allowed) return verdict;
    try {
      this.#registry.forUrl(url);
      return verdict;
    } catch (error) {
      return { allowed: false, url: verdict.url, reason: asFault(error).message };
    }
  }

  async abandon(token: Token, context: CallContext): Promise<void> {
    await this.#leftovers.giveUp(token, context.clock.now());
    try {
      for (const adapter of this.#registry.adapters) await adapter.abandon?.(token, context);
    } finally {
      await this.sweep(context);
    }
  }

  async sweep(context: CallContext): Promise<void> {
    await this.#sweeper.sweep(context);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#remotes.idle();
    await this.#registry[Symbol.asyncDispose]();
  }

  /** Of jobs with very many files not all have theirs in memory at the same time. */
  async #turn({ totals }: TransferPlan, { signal, log }: CallContext): Promise<Disposable> {
    const files = Math.min(totals.files, mostAtOnce);
    const place = this.#crowd.tryEnter(files);
    if (place) return place;
    log.info({ files: totals.files }, "many files of other jobs are being moved: these wait for their turn");
    return await this.#crowd.enter(files, signal);
  }

  /** The cache gives way to what jobs need. */
  async #checkSpace(
    { totals: { copiedBytes } }: TransferPlan,
    { root, token }: TransferRequest,
    context: CallContext,
  ): Promise<void> {
    try {
      await checkSpace(root, token, copiedBytes);
    } catch (error) {
      const needed = isFault(error) ? error.details?.["needed"] : undefined;
      if (!this.#cache || !isFull(error) || typeof needed !== "number") throw error;
      await this.#cache.makeRoom(context, needed, root);
      await checkSpace(root, token, copiedBytes);
    }
  }

  /** Moves all planned files; the first fault stops the others, and all have ended when this returns or throws. */
  async #moveAll(
    plan: TransferPlan,
    request: TransferRequest,
    turns: RemoteRun,
    context: CallContext,
  ): Promise<TransferOutcome> {
    const run = new Run(plan, request, context);
    await using shared = new SharedInputs(this.#cache, run);
    try {
      const moves = this.#movesOf(plan, { run, shared, turns });
      await this.#moveEach(moves, { run, shared, turns });
      await shared.settled();
    } catch (error) {
      run.stop(error);
    }
    return run.outcome(plan);
  }

  /** In the order of the plan, without what other jobs have fetched or are fetching: that is waited for beside it. */
  async *#movesOf(plan: TransferPlan, moving: Moving): AsyncGenerator<Move> {
    const { run, shared } = moving;
    const fetchOne = (file: PlannedFile): Promise<void> => this.#moveEach([singleMove(file)], moving);
    let [before, following] = [Promise.resolve(), Promise.resolve()];
    try {
      for await (const { files, moves } of plan.chunks()) {
        const { taken, follow } = await shared.sort(files);
        const others = new Set([...taken, ...follow]);
        const follows = shared.followAll(follow, fetchOne).catch((error: unknown) => run.stop(error));
        yield* moves(others.size === 0 ? files : files.filter((file) => !others.has(file)));
        // All that others may wait for is on its way: this run may wait itself.
        await before;
        [before, following] = [following, follows];
      }
    } finally {
      await Promise.all([before, following]);
    }
  }

  /** Never rejects. */
  async #moveEach(planned: AsyncIterable<Move> | Iterable<Move>, { run, shared, turns }: Moving): Promise<void> {
    const moving = new Set<Promise<void>>();
    const left: PlannedFile[] = [];
    let [waiting, files] = [0, 0];
    let changed = Promise.withResolvers<void>();
    const begin = (move: Move): void => {
      const task = async (turn: TransferContext): Promise<void> => {
        waiting--;
        changed.resolve();
        for (const file of await run.move(move, turn, shared)) left.push(file);
      };
      waiting++;
      files += move.files;
      const moved = this.#remotes
        .within(move.host, turns, run.context, task)
        .catch((error: unknown) => run.stop(error)) // before its turn: the whole run is over
        .finally(() => {
          moving.delete(moved);
          files -= move.files;
          changed.resolve();
        });
      moving.add(moved);
    };
    const hasRoom = async (more: number): Promise<void> => {
      while (moving.size > 0 && (waiting >= mostWaiting || files + more > mostAtOnce)) {
        changed = Promise.withResolvers<void>();
        await changed.promise;
      }
    };
    // Those that go one by one after all come before new ones: there are never more of them than were in memory.
    const beginLeft = async (): Promise<void> => {
      for (let file = left.shift(); file && !run.stopped; file = left.shift()) {
        await hasRoom(1);
        begin(singleMove(file));
      }
    };
    try {
      for await (const move of planned) {
        await beginLeft();
        await hasRoom(move.files);
        if (run.stopped) break;
        begin(move);
      }
    } catch (error) {
      run.stop(error);
    }
    while (moving.size > 0) {
      await Promise.race(moving);
      await beginLeft();
    }
  }
}

/** What the moves of a run share. */
interface Moving {
  readonly run: Run;
  readonly shared: SharedInputs;
  readonly turns: RemoteRun;
}

/** What one call of `run` has done so far. */
class Run implements SharingRun {
  readonly #request: TransferRequest;
  readonly #outer: AbortSignal;
  readonly #failed = new AbortController();
  /** Ends also when one of its files fails. */
  readonly context: CallContext;
  readonly #meter: ProgressMeter;
  readonly #manifest: ManifestEntry[];
  #files: number;
  #movedBytes = 0;
  #fault: unknown;

  constructor(plan: TransferPlan, request: TransferRequest, context: CallContext) {
    this.#request = request;
    this.#outer = context.signal;
    this.context = { ...context, signal: AbortSignal.any([context.signal, this.#failed.signal]) };
    this.#meter = new ProgressMeter(request.onProgress, context.clock, plan.totals);
    this.#manifest = [...plan.done.some];
    this.#files = plan.done.files;
  }

  /** Whether its end is that of its job, and says nothing of its files. */
  get cancelled(): boolean {
    return this.#outer.aborted;
  }

  get stopped(): boolean {
    return this.context.signal.aborted;
  }

  /** Never rejects: the first fault is kept and stops the rest. Returns the files that are still to be moved, one by one. */
  async move(move: Move, turn: TransferContext, shared: SharedInputs): Promise<readonly PlannedFile[]> {
    if (this.stopped) return [];
    try {
      return await move.run(turn, {
        moved: (file, bytes) => this.#meter.moved(file, bytes),
        done: async (file, moved) => {
          await this.#done(file, moved);
          await shared.moved(file, moved);
        },
      });
    } catch (error) {
      this.stop(error);
      return [];
    }
  }

  /** A file that was had without moving it. Never rejects. */
  async taken(file: PlannedFile, moved: MovedFile): Promise<void> {
    this.#meter.moved(file, moved.entry.bytes);
    await this.#done(file, moved);
  }

  async #done(file: PlannedFile, moved: MovedFile): Promise<void> {
    const { movedBytes } = moved;
    try {
      const entry = (await file.preserve?.(moved.entry)) ?? moved.entry;
      await failpoint("transfer.before-record");
      await this.#request.onFile(entry);
      await failpoint("transfer.after-record");
      this.#files++;
      if (this.#manifest.length < shownEntries) this.#manifest.push(entry);
      this.#movedBytes += movedBytes;
      this.#meter.finished(file);
      this.context.log.debug({ item: entry.item, path: entry.path, bytes: entry.bytes }, "file moved and verified");
    } catch (error) {
      this.stop(error);
    }
  }

  stop(error: unknown): void {
    if (this.#fault === undefined) this.#fault = error;
    this.#failed.abort(new Fault("CANCELLED", "another file of the same transfer failed"));
  }

  outcome({ missing }: TransferPlan): TransferOutcome {
    throwIfStopped(this.#outer);
    if (this.#fault !== undefined) throw this.#fault;
    const manifest = this.#manifest.toSorted(byPath);
    return { manifest, files: this.#files, missing, movedBytes: this.#movedBytes };
  }
}

/** Removes the partial files of `token` in and below one directory, following no link. */
async function cleanDirectory(
  token: Token,
  root: string,
  segments: readonly string[],
  context: CallContext,
): Promise<void> {
  throwIfStopped(context.signal);
  const partial: string[] = [];
  const below: string[] = [];
  {
    await using directory = await openDirectoryBelow(root, segments, { create: false, field: "directory" });
    for await (const entry of await opendir(directory.at("."))) {
      if (isPartialName(entry.name, token)) partial.push(entry.name);
      else if (entry.isDirectory()) below.push(entry.name);
    }
    for (const name of partial) await rm(directory.at(name), { force: true, recursive: true });
  }
  for (const name of below) await cleanBelow(token, root, [...segments, name], context);
}

/** A directory that went away or became a link meanwhile holds nothing of ours. */
async function cleanBelow(
  token: Token,
  root: string,
  segments: readonly string[],
  context: CallContext,
): Promise<void> {
  try {
    await cleanDirectory(token, root, segments, context);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT" && !isFault(error, "UNSAFE_PATH")) throw error;
  }
}
