import type { Clock } from "../common/clock.ts";
import type { Logger } from "../common/logger.ts";
import type { ServiceManager } from "../common/systemd.ts";
import type { StatusView } from "../wire/control-api.ts";

/** How long the next round with central may be overdue: a long poll and several calls that hang until their time-out fit in. */
const overdueMs = 300_000;
/** How often the status line is looked at where nobody watches. */
const statusMs = 60_000;

type Looked = Pick<StatusView, "mode" | "journal"> & {
  readonly api: Pick<StatusView["api"], "last_sync_at" | "next_sync_at">;
};

/**
 * Does the work go on? An API that does not answer is no reason for a restart, and neither is a disk that is full or hangs: what counts is that tries are
 * made. (That the main loop turns is shown by the look itself.) Time is monotonic: a clock that is set changes nothing.
 */
export class Vitals {
  #round: string | null = null;
  #since: number;

  constructor(nowMs: number) {
    this.#since = nowMs;
  }

  /** Undefined when all is well, else what has stopped. `nowMs` is monotonic. */
  look(status: Looked, nowMs: number): string | undefined {
    const { last_sync_at: last, next_sync_at: next } = status.api;
    if (last !== this.#round) {
      this.#round = last;
      this.#since = nowMs;
    }
    // A stop closes the journal, which is no failure; what fails meanwhile ends the process all the same.
    if (status.mode === "stopping") return undefined;
    if (status.journal.health === "failed") return "the journal failed";
    // A restart would hang at the same disk: wait for it, and count anew from its return.
    if (status.journal.health === "stalled") {
      this.#since = nowMs;
      return undefined;
    }
    // Until open claims are resolved there are no rounds.
    if (status.mode === "starting" || status.mode === "reconciling") return undefined;
    const pauseMs = last === null || next === null ? 0 : Math.max(0, Date.parse(next) - Date.parse(last));
    const lateMs = nowMs - this.#since - pauseMs;
    return lateMs > overdueMs
      ? `central was not asked for ${Math.round(lateMs / 1000)} s longer than planned`
      : undefined;
  }
}

export interface WatchdogDeps {
  readonly manager: ServiceManager;
  readonly status: () => Promise<StatusView | undefined>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Gives systemd a sign of life twice per watchdog period while the work goes on, and keeps its status line. Ends with `signal`. */
export async function runWatchdog(deps: WatchdogDeps, signal: AbortSignal): Promise<void> {
  const { manager, clock, log } = deps;
  const vitals = new Vitals(clock.monotonic());
  const periodMs = Math.min(manager.watchdogMs === undefined ? Infinity : manager.watchdogMs / 2, statusMs);
  let shown = "";
  while (!signal.aborted) {
    const status = await deps.status();
    const words: string[] = [];
    if (status) {
      const stopped = vitals.look(status, clock.monotonic());
      if (stopped === undefined && manager.watchdogMs !== undefined) words.push("WATCHDOG=1");
      if (stopped !== undefined)
        log.error({ stopped, status }, "the work does not go on; systemd gets no sign of life");
      const line = `STATUS=${stopped ?? statusLine(status)}`;
      if (line !== shown) words.push(line);
      shown = line;
    }
    if (words.length > 0) await manager.tell(...words);
    await clock.sleep(periodMs, signal);
  }
}

function statusLine(status: StatusView): string {
  const held = status.jobs.filter((job) => job.ended_at === null).length;
  const api = status.api.reachable ? "central answers" : "central does not answer";
  return `${status.mode}; ${held} jobs held, ${status.outbox.unsent} reports unsent; ${api}`;
}
