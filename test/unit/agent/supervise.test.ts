import { describe, expect, it } from "vitest";
import { Problems } from "../../../src/agent/problems.ts";
import { supervise } from "../../../src/agent/supervise.ts";
import type { Clock } from "../../../src/common/clock.ts";
import { Fault } from "../../../src/common/fault.ts";
import { silentLogger } from "../../../src/common/logger.ts";

/** A core whose clock sleeps until it is told to go on; `slept` are the times asked for. */
function core() {
  const stop = new AbortController();
  const slept: number[] = [];
  const wakes: (() => void)[] = [];
  const clock: Clock = {
    now: () => 0,
    monotonic: () => 0,
    sleep: async (ms, signal) => {
      // The minute after which a loop counts as well passes only when a test says so.
      if (ms < 60_000) return void slept.push(ms);
      await new Promise<void>((resolve) => {
        wakes.push(resolve);
        signal?.addEventListener("abort", () => resolve(), { once: true });
      });
    },
  };
  const problems = new Problems(clock);
  return { clock, log: silentLogger, problems, stopping: stop.signal, stop, slept, wakes };
}

describe("BAL-28: a loop that throws", () => {
  it("is begun again after a wait, is shown meanwhile, and not any more when it ended as it should", async () => {
    const agent = core();
    const shown: (string | undefined)[] = [];
    let runs = 0;
    await supervise(agent, "room", async () => {
      shown.push(agent.problems.find("loop:room")?.what);
      if (++runs < 3) throw new TypeError(`surprise ${runs}`);
    });
    expect(runs).toBe(3);
    expect(agent.slept).toHaveLength(2);
    expect(shown).toEqual([undefined, expect.stringContaining("surprise 1"), expect.stringContaining("surprise 2")]);
    expect(agent.problems.list()).toEqual([]);
  });

  it("is shown until it has turned for a minute", async () => {
    const agent = core();
    const turning = Promise.withResolvers<void>();
    let runs = 0;
    const supervised = supervise(agent, "sync", async () => {
      if (++runs === 1) throw new TypeError("surprise");
      agent.wakes.at(-1)?.();
      await turning.promise;
    });
    while (runs < 2 || agent.problems.list().length > 0) await new Promise((resolve) => setImmediate(resolve));
    turning.resolve();
    await supervised;
  });

  it("is not begun again when the journal is dead or the agent stops", async () => {
    const agent = core();
    const dead = new Fault("JOURNAL", "no more writes");
    await expect(supervise(agent, "outbox", () => Promise.reject(dead))).rejects.toBe(dead);
    agent.stop.abort();
    await supervise(agent, "outbox", () => Promise.reject(new Error("never begun")));
    expect(agent.problems.list()).toEqual([]);
  });
});
