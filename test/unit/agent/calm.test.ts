import { expect, test } from "vitest";
import { collectWhenCalm } from "../../../src/agent/calm.ts";
import { VirtualClock } from "../../helpers/clocks.ts";

test("garbage is collected once after the start and when work is followed by calm, and not while there is work or nothing was done", async () => {
  const clock = new VirtualClock();
  const end = new AbortController();
  let used = 0;
  let collections = 0;
  const collect = (): void => {
    collections++;
    used += 100; // it takes time itself
  };
  const spans = async (count: number, perSpanMs: number): Promise<number> => {
    const before = collections;
    for (let span = 0; span < count; span++) {
      used += perSpanMs;
      await clock.advance(15_000);
    }
    return collections - before;
  };
  const running = collectWhenCalm({ clock, usedMs: () => used, collect }, end.signal);
  expect(await spans(4, 5_000)).toBe(0);
  expect(await spans(40, 0)).toBe(1);
  expect(await spans(40, 5_000)).toBe(0);
  expect(await spans(40, 1)).toBe(1);
  expect(await spans(4, 500)).toBe(0);
  expect(await spans(4, 0)).toBe(1);
  // An agent that only asks central now and then.
  expect(await spans(240, 8)).toBe(1);
  end.abort();
  await running;
  expect(clock.sleeping).toBe(0);
});
