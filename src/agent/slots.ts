import { takeGpus } from "../jobs/gpus.ts";
import { addShares, fits, nothing, type Share, subtractShare, totalShareOf } from "../jobs/resources.ts";
import type { Site, SiteTarget } from "../config/types.ts";
import type { HeldJob } from "./held-job.ts";
import { currentAttempt, hasLiveAttempt } from "./held-job.ts";

/** What is used of a target, counted from the book and never from counters that could drift. */
export interface Usage {
  readonly running: number;
  readonly share: Share;
}

/** Attempts handed to the launcher and not proven dead. */
export function usageOf(jobs: Iterable<HeldJob>, target: string): Usage {
  let running = 0;
  let share: Share = nothing;
  for (const job of jobs) {
    if (job.target !== target || !hasLiveAttempt(job)) continue;
    running++;
    share = addShares(share, totalShareOf(job.app.resources));
  }
  return { running, share };
}

/** May one more attempt of this app start on the target now? */
export function fitsNow(target: SiteTarget, usage: Usage, share: Share): boolean {
  if (usage.running >= target.slots) return false;
  return fits(
    share,
    subtractShare({ cores: target.cores, memoryBytes: target.memoryBytes, gpus: target.gpus }, usage.share),
  );
}

/**
 * Ids of a host's GPUs that attempts have which are not proven dead. Targets of one host may name the same; a target that is gone from the
 * site file may have been on any host.
 */
export function gpusInUse(jobs: Iterable<HeldJob>, targets: Site["targets"], host: string): ReadonlySet<string> {
  const ids = new Set<string>();
  for (const job of jobs) {
    const elsewhere = (targets[job.target]?.host ?? host) !== host;
    if (elsewhere || !hasLiveAttempt(job)) continue;
    for (const id of currentAttempt(job)?.plan.gpus ?? []) ids.add(id);
  }
  return ids;
}

/** So many of a target's GPUs that nobody has; undefined when there are not enough. */
export function chooseGpus(
  target: SiteTarget,
  count: number,
  inUse: ReadonlySet<string>,
): readonly string[] | undefined {
  if (target.gpus === undefined || target.allocation) return [];
  return takeGpus(target.gpuIds, count, inUse);
}

/** A retry delay that lasts longer keeps no slot from others. */
const soonMs = 60_000;

/** Jobs between claim and the end of their run: each will want a slot soon, but for those that wait out a long retry delay. */
function wantsSlot(job: HeldJob, nowMs: number): boolean {
  if (job.fenced !== undefined && !hasLiveAttempt(job)) return false;
  if (job.not_before !== undefined && Date.parse(job.not_before) > nowMs + soonMs) return false;
  switch (job.state) {
    case "READY":
    case "STAGED_IN":
    case "PREPROCESSED":
    case "RUNNING":
    case "RUN_ERROR":
    case "RUN_TIMEOUT":
    case "RESTART_READY":
      return true;
    default:
      return false;
  }
}

/** What the wire takes for one workflow. */
const mostSlots = 10_000;

export interface Offer {
  readonly free: { readonly workflow: string; readonly slots: number }[];
  readonly maxAssign: number;
}

/**
 * What the site can start soon: each app's share of its target's free slots, never more in all than all targets have free, and
 * never above `agent.max_jobs` held. `nowMs`: wall time. Claims that cannot run soon would only be hoarded.
 */
export function offerOf(site: Site, jobs: readonly HeldJob[], claiming: number, nowMs: number): Offer {
  const open = jobs.filter((job) => job.ended_at === undefined);
  const wanting = open.filter((job) => wantsSlot(job, nowMs));
  const room = Math.max(0, site.agent.maxJobs - open.length - claiming);
  const freeOf = new Map<string, number>();
  for (const target of Object.values(site.targets)) {
    const wanted = wanting.filter((job) => job.target === target.name).length;
    freeOf.set(target.name, Math.max(0, target.slots - wanted));
  }
  const free = [];
  for (const app of Object.values(site.apps)) {
    const running = wanting.filter((job) => job.app.name === app.name).length;
    const slots = Math.min(
      mostSlots,
      freeOf.get(app.target) ?? 0,
      room,
      app.max_running === undefined ? Infinity : app.max_running - running,
    );
    if (slots > 0) free.push({ workflow: app.workflow, slots });
  }
  const total = [...freeOf.values()].reduce((sum, count) => sum + count, 0);
  return { free, maxAssign: Math.max(0, Math.min(total - claiming, room)) };
}
