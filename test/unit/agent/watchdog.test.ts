import { describe, expect, test } from "vitest";
import { runWatchdog, Vitals } from "../../../src/agent/watchdog.ts";
import type { Clock } from "../../../src/common/clock.ts";
import { silentLogger } from "../../../src/common/logger.ts";
import type { StatusView } from "../../../src/wire/control-api.ts";

const at = (seconds: number): string => new Date(Date.UTC(2026, 0, 1) + seconds * 1000).toISOString();
const view = (
  mode: "running" | "reconciling" | "paused" | "stopping",
  round: { readonly last: number; readonly next: number } | undefined,
  health = "ok",
) => ({
  mode,
  journal: { health, bytes: 0, records: 0, last_sync_ms: 1 },
  api: { last_sync_at: round ? at(round.last) : null, next_sync_at: round ? at(round.next) : null },
});

describe("A23: vitals", () => {
  test("rounds that are made, successful or not, are life", () => {
    const vitals = new Vitals(0);
    for (let second = 0; second < 3600; second += 60) {
      expect(vitals.look(view("running", { last: second, next: second + 60 }), second * 1000)).toBeUndefined();
    }
  });

  test("a pause that central asked for is no stall, the same silence without it is", () => {
    const asked = new Vitals(0);
    asked.look(view("running", { last: 0, next: 900 }), 0);
    expect(asked.look(view("running", { last: 0, next: 900 }), 1_199_000)).toBeUndefined();
    const silent = new Vitals(0);
    silent.look(view("running", { last: 0, next: 15 }), 0);
    expect(silent.look(view("running", { last: 0, next: 15 }), 316_000)).toBe(
      "central was not asked for 301 s longer than planned",
    );
  });

  test("no first round at all is a stall, unless open claims are still being resolved", () => {
    expect(new Vitals(0).look(view("running", undefined), 301_000)).toMatch(/was not asked/);
    expect(new Vitals(0).look(view("reconciling", undefined), 86_400_000)).toBeUndefined();
  });

  test("C6: a disk that hangs is no stall, however long: a restart would hang, too", () => {
    const vitals = new Vitals(0);
    const round = { last: 0, next: 60 };
    vitals.look(view("running", round), 0);
    expect(vitals.look(view("running", round, "stalled"), 7_200_000)).toBeUndefined();
    expect(vitals.look(view("running", round), 7_260_000)).toBeUndefined();
    expect(vitals.look(view("running", round), 7_600_000)).toMatch(/was not asked/);
  });

  test("a full disk is life, a failed journal is none", () => {
    expect(new Vitals(0).look(view("running", undefined, "no-space"), 0)).toBeUndefined();
    expect(new Vitals(0).look(view("running", undefined, "failed"), 0)).toBe("the journal failed");
    // Closed, as each stop does.
    expect(new Vitals(0).look(view("stopping", undefined, "failed"), 0)).toBeUndefined();
  });
});

describe("the watchdog", () => {
  /** A clock whose `sleep` takes the time at once and lets `rounds` of them pass. */
  function run(statuses: readonly (StatusView | undefined)[], watchdogMs: number | undefined) {
    const said: string[][] = [];
    const slept: number[] = [];
    const end = new AbortController();
    let nowMs = 0;
    const clock: Clock = {
      now: () => nowMs,
      monotonic: () => nowMs,
      async sleep(ms) {
        slept.push(ms);
        nowMs += ms;
        if (slept.length === statuses.length) end.abort();
      },
    };
    const manager = { watchdogMs, tell: async (...words: readonly string[]) => void said.push([...words]) };
    const status = async (): Promise<StatusView | undefined> => statuses[slept.length];
    return runWatchdog({ manager, status, clock, log: silentLogger }, end.signal).then(() => ({ said, slept }));
  }

  const status = (reachable: boolean, health = "ok"): StatusView =>
    ({
      ...view("running", { last: 0, next: 60 }, health),
      jobs: [{ ended_at: null }, { ended_at: at(1) }],
      outbox: { unsent: 2, oldest_at: null, parked: 0 },
      api: { last_sync_at: at(0), next_sync_at: at(60), reachable },
    }) as unknown as StatusView;

  test("gives a sign of life twice a period, and the status line only when it has changed", async () => {
    const { said, slept } = await run([undefined, status(true), status(true), status(false)], 30_000);
    expect(slept).toEqual([15_000, 15_000, 15_000, 15_000]);
    expect(said).toEqual([
      ["WATCHDOG=1", "STATUS=running; 1 jobs held, 2 reports unsent; central answers"],
      ["WATCHDOG=1"],
      ["WATCHDOG=1", "STATUS=running; 1 jobs held, 2 reports unsent; central does not answer"],
    ]);
  });

  test("gives none once the work has stopped, and says what stopped", async () => {
    const { said } = await run([status(true), status(true, "failed"), status(true, "failed")], 30_000);
    expect(said.slice(1)).toEqual([["STATUS=the journal failed"]]);
  });

  test("nobody watches: the line alone is kept, once a minute", async () => {
    const { said, slept } = await run([status(true), status(true)], undefined);
    expect(slept).toEqual([60_000, 60_000]);
    expect(said).toEqual([["STATUS=running; 1 jobs held, 2 reports unsent; central answers"]]);
  });
});
