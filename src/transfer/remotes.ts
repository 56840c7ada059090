import type { CallContext } from "../common/context.ts";
import { type Fault, isFault } from "../common/fault.ts";
import { hasAdvanced, isUnanswered } from "./errors.ts";
import { RemoteBandwidth } from "./remote-bandwidth.ts";
import { type Attempt, RemoteBreaker } from "./remote-breaker.ts";
import { RemoteSlots, type Slot } from "./remote-slots.ts";
import type { RemoteLimits, RemoteUse, RemoteWait, TransferContext } from "./types.ts";

/** Files at the same time where nothing says otherwise. */
const usualFiles = 4;

interface Remote {
  readonly slots: RemoteSlots;
  readonly bandwidth: RemoteBandwidth | undefined;
  readonly breaker: RemoteBreaker;
}

/**
 * What moves at each remote, over all jobs: how many files, how many bytes per second, shared fairly; and whether it answers at all.
 * Remotes know nothing of each other: one that hangs stalls only who needs it.
 */
export class Remotes {
  readonly #limits: (host: string) => RemoteLimits | undefined;
  readonly #known = new Map<string, Remote>();
  #calls = new Set<Promise<unknown>>();

  constructor(limits: (host: string) => RemoteLimits | undefined) {
    this.#limits = limits;
  }

  /** Runs `call` when the job may move something at this host (as URLs have it). @throws Fault CANCELLED; what `call` throws */
  async within<Value>(
    host: string,
    run: RemoteRun,
    context: CallContext,
    call: (context: TransferContext) => Promise<Value>,
  ): Promise<Value> {
    const remote = this.#remote(host);
    const slot: Slot = { job: run.job };
    await remote.slots.enter(slot, context.signal);
    const use = new Use(host, remote, slot, run, context);
    const done = call({ ...context, remote: use });
    this.#calls.add(done);
    try {
      return await done;
    } finally {
      this.#calls.delete(done);
      use.end();
      if (remote.slots.idle && remote.breaker.idle) this.#known.delete(host);
    }
  }

  /** Resolves when no call is under way. */
  async idle(): Promise<void> {
    await Promise.allSettled([...this.#calls]);
  }

  #remote(host: string): Remote {
    const known = this.#known.get(host);
    if (known) return known;
    const { files = usualFiles, bytesPerSecond } = this.#limits(host) ?? {};
    const made: Remote = {
      slots: new RemoteSlots(files),
      bandwidth: bytesPerSecond === undefined ? undefined : new RemoteBandwidth(bytesPerSecond),
      breaker: new RemoteBreaker(),
    };
    this.#known.set(host, made);
    return made;
  }
}

/** One run of one job, at all its remotes: says when everything that it has under way waits for answers. */
export class RemoteRun {
  readonly job: string;
  /** Undefined: nobody would know why nothing moves, so nothing waits for an answer beyond its own tries. */
  readonly #onWait: ((wait: RemoteWait | undefined) => void) | undefined;
  readonly #uses = new Map<Use, RemoteWait | undefined>();
  #told: string | undefined;

  constructor(job: string, onWait?: (wait: RemoteWait | undefined) => void) {
    this.job = job;
    this.#onWait = onWait;
  }

  get waits(): boolean {
    return this.#onWait !== undefined;
  }

  set(use: Use, wait: RemoteWait | undefined): void {
    this.#uses.set(use, wait);
    this.#look();
  }

  delete(use: Use): void {
    this.#uses.delete(use);
    this.#look();
  }

  /** With nothing under way, as between two files, what was told last holds. */
  #look(): void {
    // One that has not heard yet that its remote answers again waits no more.
    const waits = [...this.#uses].map(([use, wait]) => (use.isHeldUp ? wait : undefined));
    if (waits.length === 0) return;
    const wait = waits.includes(undefined) ? undefined : waits[0];
    if (this.#told === wait?.host) return;
    this.#told = wait?.host;
    this.#onWait?.(wait);
  }
}

class Use implements RemoteUse {
  readonly #host: string;
  readonly #remote: Remote;
  readonly #slot: Slot;
  readonly #run: RemoteRun;
  readonly #context: CallContext;
  #attempt: Attempt | undefined;
  #heard = false;
  #held = true;
  #narrowings = 0;

  constructor(host: string, remote: Remote, slot: Slot, run: RemoteRun, context: CallContext) {
    this.#host = host;
    this.#remote = remote;
    this.#slot = slot;
    this.#run = run;
    this.#context = context;
  }

  get isHeldUp(): boolean {
    return this.#remote.breaker.trouble !== undefined;
  }

  get fragile(): boolean {
    return this.#remote.slots.narrowed;
  }

  async begin(): Promise<void> {
    this.#heard = false;
    const { slots } = this.#remote;
    if (slots.crowded) {
      this.#run.delete(this); // as one that has not begun: it says nothing of the remote
      await this.#standAside();
    }
    this.#narrowings = slots.narrowings;
    if (!this.#run.waits) return;
    this.#attempt = await this.#remote.breaker.enter(this.#context, (fault) => {
      this.#run.set(this, { host: this.#host, reason: fault.message });
    });
    if (!this.#attempt.isProbe) this.#run.set(this, undefined);
  }

  async flow(bytes: number): Promise<void> {
    if (!this.#heard || this.#remote.breaker.trouble) this.#answered(false);
    const { slots, bandwidth } = this.#remote;
    if (bandwidth) await bandwidth.take(this.#slot.job, bytes, this.#context);
    slots.carried(bytes);
    if (slots.isWanted(this.#slot)) await this.#standAside();
  }

  done(): void {
    this.#answered(true);
    this.#remote.slots.moved();
    this.#attempt = undefined;
  }

  failed(fault: Fault): boolean {
    if (this.#heard && isUnanswered(fault)) this.#remote.slots.lost(hasAdvanced(fault), this.#narrowings);
    const attempt = this.#attempt;
    this.#attempt = undefined;
    if (!attempt) return false;
    const { breaker } = this.#remote;
    if (isUnanswered(fault)) breaker.failed(attempt, fault, this.#context.clock.monotonic());
    else if (isFault(fault, "TRANSFER_REFUSED", "DIGEST_MISMATCH")) breaker.answered(attempt, true);
    else breaker.unclear(attempt);
    return isUnanswered(fault) && breaker.trouble !== undefined;
  }

  end(): void {
    if (this.#attempt) this.#remote.breaker.unclear(this.#attempt);
    if (this.#held) this.#remote.slots.leave(this.#slot);
    this.#run.delete(this);
  }

  /** Until it is this file's turn again. */
  async #standAside(): Promise<void> {
    const { slots } = this.#remote;
    this.#held = false;
    slots.leave(this.#slot);
    await slots.enter(this.#slot, this.#context.signal, true);
    this.#held = true;
  }

  #answered(whole: boolean): void {
    this.#heard = true;
    if (!this.#attempt) return;
    this.#remote.breaker.answered(this.#attempt, whole);
    this.#run.set(this, undefined);
  }
}
