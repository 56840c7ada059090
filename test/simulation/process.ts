import type { Clock } from "../../src/common/clock.ts";
import type { World } from "./world.ts";

/** Thrown into code of a process that has been killed: it changes nothing any more. */
export class Killed extends Error {}

/** Never settles: what a killed process waits for. */
const never = new Promise<never>(() => {});

/**
 * One life of the agent process. Everything that leaves the process goes through it, and there it can be killed: before the effect or
 * after it. Once killed nothing that its code still does has any effect, and no timer of it fires.
 */
export class SimulatedProcess {
  readonly world: World;
  readonly number: number;
  readonly clock: Clock;
  dead = false;
  /** Sleeps that have not ended. */
  timers = 0;
  /** The journal's writing side hung when the process ended: what it has open and waits for is left to the kernel. */
  abandoned = false;
  /** Launchers' changes that are listened to. */
  watches = 0;

  constructor(world: World, number: number) {
    this.world = world;
    this.number = number;
    const bornAt = world.time.now;
    this.clock = {
      now: () => world.time.wall,
      monotonic: () => world.time.now - bornAt,
      sleep: (ms, signal) => this.#sleep(ms, signal),
    };
  }

  #sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.dead) return never;
    if (signal?.aborted || ms <= 0) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.timers++;
    const done = (): void => {
      cancel();
      signal?.removeEventListener("abort", done);
      if (this.dead) return;
      this.timers--;
      resolve();
    };
    const cancel = this.world.time.after(ms, done);
    signal?.addEventListener("abort", done, { once: true });
    return promise;
  }

  /** A call that blocks: dies before or after its effect, or neither. */
  sync<T>(what: string, effect: () => T): T {
    if (this.dead) throw new Killed();
    if (this.world.killsAt(`before ${what}`)) throw new Killed();
    const result = effect();
    if (this.world.killsAt(`after ${what}`)) throw new Killed();
    return result;
  }

  /** A call that takes time. `effect` happens when half of it is over, also when the process is dead by then if `inFlight`. */
  async call<T>(what: string, ms: number, effect: () => T, { inFlight = false } = {}): Promise<T> {
    if (this.dead || this.world.killsAt(`before ${what}`)) return await never;
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.world.time.after(ms / 2, () => {
      if (this.dead && !inFlight) return;
      try {
        const result = effect();
        this.later(ms / 2, () => {
          if (!this.world.killsAt(`after ${what}`)) resolve(result);
        });
      } catch (error) {
        this.later(ms / 2, () => reject(error as Error));
      }
    });
    return await promise;
  }

  /** As `time.after`, but not for the dead. */
  later(ms: number, run: () => void): () => void {
    return this.world.time.after(ms, () => {
      if (!this.dead) run();
    });
  }
}
