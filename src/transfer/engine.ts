import { mkdir, readdir, rm } from "node:fs/promises";
import type { CallContext } from "../common/context.ts";
import { failpoint } from "../common/failpoint.ts";
import { asFault, Fault, errnoOf, isFault } from "../common/fault.ts";
import type { Token } from "../common/token.ts";
import { BulkOffers, singleMove } from "./bulk.ts";
import { SharedInputs, type SharingRun } from "./cache/shared.ts";
import type { InputCache } from "./cache/index.ts";
import { Crowd } from "./crowd.ts";
import { isFull, throwIfStopped, transferFault } from "./errors.ts";
import { isPartialName, openDirectoryBelow } from "./paths.ts";
import { byPath, type Move, type MovedFile, type PlannedFile, type PlanInput, type TransferPlan } from "./plan.ts";
import type { TransferPolicy, Verdict } from "./policy.ts";
import { ProgressMeter } from "./progress.ts";
import type { TransferRegistry } from "./registry.ts";
import { defaultRetry, type RetryOptions } from "./retry.ts";
import { RemoteRun, Remotes } from "./remotes.ts";
import { checkSpace } from "./space.ts";
import { planStageIn } from "./stage-in.ts";
import { planStageOut } from "./stage-out.ts";
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
}

/** The engine that all adapters share. One per agent: the limits per host hold over all its jobs. */
export function createTransferEngine(options: TransferEngineOptions): TransferEngine {
  return new Engine(options);
}

/** Files of one run waiting in a queue; keeps a million small files from becoming a million promises. */
const mostWaiting = 64;

class Engine implements TransferEngine {
  readonly #policy: TransferPolicy;
  readonly #registry: TransferRegistry;
  readonly #retry: RetryOptions;
  readonly #bulk = new BulkOffers();
  readonly #cache: InputCache | undefined;
  readonly #crowd: Crowd;
  readonly #remotes: Remotes;

  constructor(options: TransferEngineOptions) {
    this.#policy = options.policy;
    this.#registry = options.registry;
    this.#remotes = new Remotes(options.limits ?? (() => undefined));
    this.#retry = { ...defaultRetry, ...options.retry };
    this.#cache = options.cache;
    this.#crowd = options.crowd ?? new Crowd();
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
        },
        within: (host, call) => this.#remotes.within(host, turns, context, call),
      };
      if (request.direction === "in") await mkdir(request.root, { recursive: true });
      const { plan, place } = await this.#planned(input);
      using _entered = place;
      if (request.direction === "in") await this.#checkSpace(plan, request, context);
      const outcome = await this.#moveAll(plan, request, turns, context);
      // Parts of a source's earlier version are of no use any more.
      if (request.direction === "in" && plan.files.length > 0) await this.clean(request.token, request.root, context);
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
    for (const adapter of this.#registry.adapters) await adapter.abandon?.(token, context);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#remotes.idle();
    await this.#registry[Symbol.asyncDispose]();
  }

  /** While too many files of other jobs are in memory, the list is let go: it is made again when it is this one's turn. */
  async #planned(input: PlanInput): Promise<Planned> {
    const first = await this.#planNow(input);
    if (typeof first !== "number") return first;
    const { signal, log } = input.context;
    log.info({ files: first }, "many files of other jobs are being moved: these wait for their turn");
    const place = await this.#crowd.enter(first, signal);
    try {
      return { plan: await makePlan(input), place };
    } catch (error) {
      place[Symbol.dispose]();
      throw error;
    }
  }

  /** The number of files when it is not their turn. */
  async #planNow(input: PlanInput): Promise<Planned | number> {
    const plan = await makePlan(input);
    const files = plan.files.length + plan.done.length;
    const place = this.#crowd.tryEnter(files);
    return place ? { plan, place } : files;
  }

  /** The cache gives way to what jobs need. */
  async #checkSpace({ files }: TransferPlan, { root, token }: TransferRequest, context: CallContext): Promise<void> {
    try {
      await checkSpace(root, token, files);
    } catch (error) {
      const needed = isFault(error) ? error.details?.["needed"] : undefined;
      if (!this.#cache || !isFull(error) || typeof needed !== "number") throw error;
      await this.#cache.makeRoom(context, needed, root);
      await checkSpace(root, token, files);
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
      const { taken, follow } = await shared.sort(plan.files);
      const fetchOne = (file: PlannedFile): Promise<void> => this.#moveEach([singleMove(file)], run, shared, turns);
      const following = shared.followAll(follow, fetchOne);
      await Promise.all([following, this.#moveEach(plan.moves(new Set([...taken, ...follow])), run, shared, turns)]);
      await shared.settled();
    } catch (error) {
      run.stop(error);
    }
    return run.outcome(plan.missing);
  }

  /** Never rejects. */
  async #moveEach(planned: readonly Move[], run: Run, shared: SharedInputs, turns: RemoteRun): Promise<void> {
    const moving = new Set<Promise<void>>();
    let waiting = 0;
    let room = Promise.withResolvers<void>();
    const moves = [...planned];
    for (let at = 0; at < moves.length && !run.stopped; at++) {
      const move = moves[at];
      if (!move) break;
      const task = async (turn: TransferContext): Promise<void> => {
        if (--waiting <= mostWaiting / 2) room.resolve();
        for (const file of await run.move(move, turn, shared)) moves.push(singleMove(file));
      };
      const moved = this.#remotes
        .within(move.host, turns, run.context, task)
        .catch((error: unknown) => {
          run.stop(error); // before its turn: the whole run is over
          room.resolve();
        })
        .finally(() => moving.delete(moved));
      moving.add(moved);
      if (++waiting >= mostWaiting) {
        room = Promise.withResolvers<void>();
        await room.promise;
      }
      // Those that are under way may leave more to be done.
      while (at + 1 === moves.length && moving.size > 0) await Promise.race(moving);
    }
    await Promise.all(moving);
  }
}

interface Planned {
  readonly plan: TransferPlan;
  /** Among the files of all jobs. */
  readonly place: Disposable;
}

function makePlan(input: PlanInput): Promise<TransferPlan> {
  return input.request.direction === "in" ? planStageIn(input) : planStageOut(input);
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
  #movedBytes = 0;
  #fault: unknown;

  constructor(plan: TransferPlan, request: TransferRequest, context: CallContext) {
    this.#request = request;
    this.#outer = context.signal;
    this.context = { ...context, signal: AbortSignal.any([context.signal, this.#failed.signal]) };
    this.#meter = new ProgressMeter(request.onProgress, context.clock, plan.files);
    this.#manifest = [...plan.done];
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
      this.#manifest.push(entry);
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

  outcome(missing: readonly string[]): TransferOutcome {
    throwIfStopped(this.#outer);
    if (this.#fault !== undefined) throw this.#fault;
    return { manifest: this.#manifest.toSorted(byPath), missing, movedBytes: this.#movedBytes };
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
  await using directory = await openDirectoryBelow(root, segments, { create: false, field: "directory" });
  for (const entry of await readdir(directory.at("."), { withFileTypes: true })) {
    if (isPartialName(entry.name, token)) await rm(directory.at(entry.name), { force: true, recursive: true });
    else if (entry.isDirectory()) await cleanBelow(token, root, [...segments, entry.name], context);
  }
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
