import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { systemClock } from "../../../src/common/clock.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

it("H3: a sleep of 31 days, longer than Node's timers can be, ends after 31 days and not before", async () => {
  const days31 = 31 * 86_400_000;
  let over = false;
  const sleep = systemClock.sleep(days31).then(() => (over = true));
  await vi.advanceTimersByTimeAsync(days31 - 1);
  expect(over).toBe(false);
  await vi.advanceTimersByTimeAsync(1);
  await sleep;
  expect(over).toBe(true);
});
