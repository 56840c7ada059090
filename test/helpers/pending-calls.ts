import type { Central } from "../../src/central/types.ts";
import { nextTurn } from "./clocks.ts";

/** Longest that a moment of virtual time waits for calls under way, real milliseconds: a held one ends by virtual time only. */
const patienceMs = 250;

/** Counts the calls to central that are under way, so that virtual time waits for their answers. */
export class PendingCalls {
  #pending = 0;
  /** Calls that had all that time: they are held, until one begins or ends. */
  #held = 0;

  /** The same client, counted. */
  watch(central: Central): Central {
    return new Proxy(central, {
      get: (target, name) => {
        const member: unknown = Reflect.get(target, name, target);
        if (typeof member !== "function") return member;
        return (...args: unknown[]): unknown => {
          const answer: unknown = Reflect.apply(member, target, args);
          if (!(answer instanceof Promise)) return answer;
          this.#pending++;
          this.#held = 0;
          return answer.finally(() => {
            this.#pending--;
            this.#held = 0;
          });
        };
      },
    });
  }

  /** When nothing is under way but what is held; for `VirtualClock.advance`. */
  readonly settled = async (): Promise<void> => {
    const deadline = performance.now() + patienceMs;
    do await nextTurn();
    while (this.#pending > this.#held && performance.now() < deadline);
    this.#held = this.#pending;
  };
}
