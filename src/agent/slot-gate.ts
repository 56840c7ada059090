import { addShares, nothing, totalShareOf } from "../jobs/resources.ts";
import type { GpuShare } from "../jobs/gpus.ts";
import type { SiteTarget } from "../config/types.ts";
import type { AgentCore } from "./core.ts";
import type { HeldJob } from "./held-job.ts";
import { chooseGpus, fitsNow, gpusInUse } from "./slots.ts";

/** A place on a target. */
export interface Place {
  /** GPUs that nobody else has; undefined where they are not given out by us. */
  readonly gpus: GpuShare | undefined;
  /** Gives the reservation back once the book counts the attempt (or it came to nothing). */
  leave(): void;
}

interface Reserved {
  readonly job: HeldJob;
  readonly gpus: readonly string[];
}

/** Lets attempts start when their target has room. What is used comes from the book; only the moment between yes and the journal is kept here. */
export class SlotGate {
  readonly #core: AgentCore;
  /** By target and job. */
  readonly #reserved = new Map<string, Map<string, Reserved>>();

  constructor(core: AgentCore) {
    this.#core = core;
  }

  /** Waits for room; `undefined` when `signal` aborts. */
  async enter(job: HeldJob, signal: AbortSignal): Promise<Place | undefined> {
    while (!signal.aborted) {
      const target = this.#core.parts.site.targets[job.target];
      const gpus = target && this.#room(target, job);
      if (target && gpus) {
        const reserved = this.#reservedOn(job.target);
        reserved.set(job.id, { job, gpus });
        const given = target.gpus !== undefined && !target.allocation;
        return {
          gpus: given ? { vendor: target.gpuVendor, ids: gpus } : undefined,
          leave: () => {
            reserved.delete(job.id);
            // Those who wait for room wait for anything; what others wait for is none of this.
            this.#core.changed.notify(job.id);
          },
        };
      }
      await this.#core.changed.next(signal);
    }
    return undefined;
  }

  /** In words, for status and explain. */
  reason(job: HeldJob): string | undefined {
    const target = this.#core.parts.site.targets[job.target];
    if (!target) return `target '${job.target}' is not in the site file any more`;
    if (this.#reservedOn(job.target).has(job.id) || this.#room(target, job)) return undefined;
    const { size: running } = this.#core.ledger.book.liveOn(job.target);
    return `all of target '${job.target}' is in use (${running} of ${target.slots} slots)`;
  }

  #reservedOn(target: string): Map<string, Reserved> {
    const known = this.#reserved.get(target);
    if (known) return known;
    const made = new Map<string, Reserved>();
    this.#reserved.set(target, made);
    return made;
  }

  /** The GPUs that the job would get if it started now; undefined when there is no room for it. It has no reservation itself. */
  #room(target: SiteTarget, job: HeldJob): readonly string[] | undefined {
    const live = this.#core.ledger.book.liveOn(job.target);
    const reserved = this.#reservedOn(job.target);
    const running = live.size + reserved.size;
    const share = totalShareOf(job.app.resources);
    // Each of thousands that start together asks: where only slots count they are not gone through.
    if (target.cores === undefined && target.memoryBytes === undefined && target.gpus === undefined)
      return fitsNow(target, { running, share: nothing }, share) ? [] : undefined;
    const others = [...live.values(), ...[...reserved.values()].map((other) => other.job)];
    const taken = others.map(({ app }) => totalShareOf(app.resources)).reduce(addShares, nothing);
    if (!fitsNow(target, { running, share: taken }, share)) return undefined;
    return chooseGpus(target, share.gpus, this.#gpusInUse(target));
  }

  /** On the target's host. */
  #gpusInUse(target: SiteTarget): ReadonlySet<string> {
    const { targets } = this.#core.parts.site;
    const here = [...this.#reserved].filter(([name]) => (targets[name]?.host ?? target.host) === target.host);
    const reserved = here.flatMap(([, some]) => [...some.values()].flatMap(({ gpus }) => gpus));
    return new Set([...gpusInUse(this.#core.open, targets, target.host), ...reserved]);
  }
}
