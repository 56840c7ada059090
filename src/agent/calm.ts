import type { Clock } from "../common/clock.ts";

/** How often the process is looked at. */
const spanMs = 15_000;
/** A span in which it used less of a processor than this is calm. */
const calmShare = 0.02;
/** Processor time after which there is something to collect again. In less V8 hardly fills its heap. */
const workMs = 1_000;

export interface CalmDeps {
  readonly clock: Clock;
  /** Processor time of this process so far, milliseconds. */
  readonly usedMs: () => number;
  /** Gives memory that nobody uses back to the machine. */
  readonly collect: () => void;
}

/**
 * Collects garbage in the first calm after the start, and once whenever work is followed by calm. V8 collects when it allocates: an agent that has just taken a thousand jobs and
 * now waits for them would keep what the taking left behind for as long as they run, on a login node that is others', too. Ends with
 * `signal`.
 */
export async function collectWhenCalm({ clock, usedMs, collect }: CalmDeps, signal: AbortSignal): Promise<void> {
  let collectedAt = -Infinity;
  for (let last = usedMs(); ;) {
    await clock.sleep(spanMs, signal);
    if (signal.aborted) return;
    const used = usedMs();
    const isCalm = used - last <= spanMs * calmShare;
    last = used;
    if (!isCalm || used - collectedAt < workMs) continue;
    collect();
    last = collectedAt = usedMs();
  }
}

/** Of this process. Does nothing where Node was not started with `--expose-gc`, as `bin/siteagent` starts it. */
export function collectHere(): void {
  const { gc } = globalThis;
  gc?.({ execution: "sync", type: "major", flavor: "last-resort" });
}

/** Of this process, all threads. */
export function usedHere(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
