import { expect, it } from "vitest";
import { LaunchBatch } from "../../../src/agent/launch-batch.ts";
import { systemClock } from "../../../src/common/clock.ts";
import { Fault } from "../../../src/common/fault.ts";
import { silentLogger } from "../../../src/common/logger.ts";
import type { AttemptPlan, Launcher, LaunchResult } from "../../../src/launchers/types.ts";
import { liveAttempt } from "./builders.ts";

const context = { signal: new AbortController().signal, log: silentLogger, clock: systemClock };
const plans = (count: number): readonly AttemptPlan[] => Array.from({ length: count }, () => liveAttempt().plan);
const accepted = ({ token }: AttemptPlan): LaunchResult => ({
  state: "accepted",
  handle: { adapter: "test", version: 1, data: { token } },
});

/** A launcher that only launches, as told. */
const launcherOf = (launch: Launcher["launch"]): Launcher => ({ launch }) as Launcher;

it("hands over together what comes in one moment, and what comes meanwhile in the next call; each gets its own result", async () => {
  const calls: number[] = [];
  const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const batch = new LaunchBatch(
    launcherOf(async (group) => {
      calls.push(group.length);
      await (calls.length === 1 ? first : second).promise;
      return group.map(accepted);
    }),
  );
  const [a, b, c, d] = plans(4);
  if (!a || !b || !c || !d) throw new Error("no plans");
  const results = [batch.launch(a, context), batch.launch(b, context)];
  await Promise.resolve();
  await Promise.resolve();
  results.push(batch.launch(c, context), batch.launch(d, context));
  first.resolve();
  second.resolve();
  expect(await Promise.all(results)).toEqual([a, b, c, d].map(accepted));
  expect(calls).toEqual([2, 2]);
});

it.each([
  ["throws a fault", () => Promise.reject(new Fault("RUNNER", "the runner is away")), "the runner is away"],
  ["breaks", () => Promise.reject(new TypeError("oh")), "TypeError: oh"],
  ["forgets one", async () => [], "the launcher gave no result"],
])(
  "a launcher that %s leaves it unknown whether anything started, and is asked again next time",
  async (_what, launch, why) => {
    let calls = 0;
    const batch = new LaunchBatch(launcherOf(async (group) => (++calls === 1 ? launch() : group.map(accepted))));
    const [one, two] = plans(2);
    if (!one || !two) throw new Error("no plans");
    expect(await batch.launch(one, context)).toEqual({ state: "unknown", why });
    expect(await batch.launch(two, context)).toEqual(accepted(two));
  },
);
