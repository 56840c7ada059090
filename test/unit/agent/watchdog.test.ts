import { describe, expect, test } from "vitest";
import { Vitals } from "../../../src/agent/watchdog.ts";

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

describe("vitals", () => {
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

  test("a full disk is life, a failed journal is none", () => {
    expect(new Vitals(0).look(view("running", undefined, "no-space"), 0)).toBeUndefined();
    expect(new Vitals(0).look(view("running", undefined, "failed"), 0)).toBe("the journal failed");
  });
});
