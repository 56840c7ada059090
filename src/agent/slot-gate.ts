import { addShares, shareOf } from "../jobs/resources.ts";
import type { AgentCore } from "./core.ts";
import type { HeldJob } from "./held-job.ts";
import { fitsNow, usageOf } from "./slots.ts";

/** Lets attempts start when their target has room. What is used comes from the book; only the moment between yes and the journal is kept here. */
export class SlotGate {
  readonly #core: AgentCore;
  readonly #reserved = new Map<string, HeldJob>();

  constructor(core: AgentCore) {
    this.#core = core;
  }

  /** Waits for room; the returned function gives the reservation back once the book counts the attempt (or it came to nothing). `undefined` when `signal` aborts. */
  async enter(job: HeldJob, signal: AbortSignal): Promise<(() => void) | undefined> {
    while (!signal.aborted) {
      const changed = this.#core.changed.next(signal);
      if (this.#fits(job)) {
        this.#reserved.set(job.id, job);
        return () => {
          this.#reserved.delete(job.id);
          this.#core.changed.notify();
        };
      }
      await changed;
    }
    return undefined;
  }

  /** In words, for status and explain. */
  reason(job: HeldJob): string | undefined {
    const target = this.#core.parts.site.targets[job.target];
    if (!target) return `target '${job.target}' is not in the site file any more`;
    if (this.#fits(job)) return undefined;
    const used = usageOf(this.#core.open, job.target);
    return `all of target '${job.target}' is in use (${used.running} of ${target.slots} slots)`;
  }

  #fits(job: HeldJob): boolean {
    const target = this.#core.parts.site.targets[job.target];
    if (!target) return false;
    let used = usageOf(this.#core.open, job.target);
    for (const other of this.#reserved.values()) {
      if (other.target !== job.target || other.id === job.id) continue;
      used = { running: used.running + 1, share: addShares(used.share, shareOf(other.app.resources)) };
    }
    return fitsNow(target, used, shareOf(job.app.resources));
  }
}
