import { expect, test } from "vitest";
import { simulate } from "../../../scripts/prove/simulation.ts";
import { runHistory } from "../../simulation/history.ts";
import type { World } from "../../simulation/world.ts";

test(
  "B14, TAP-4: in 300 histories of kills, lost power, a bad disk and network nothing is lost and nothing runs twice",
  { timeout: 300_000 },
  async () => {
    const lines: string[] = [];
    const result = await simulate({ seed: 1, histories: 300, say: (line) => lines.push(line) });
    expect(result.failures, lines.join("\n")).toStrictEqual([]);
    expect(result.histories).toBe(300);
    expect(result.kills).toBeGreaterThan(300);
  },
);

test("a history happens again exactly as before", { timeout: 60_000 }, async () => {
  const [first, second] = [await runHistory(7, { traced: true }), await runHistory(7, { traced: true })];
  expect(first.trace.length).toBeGreaterThan(10);
  expect(second).toStrictEqual(first);
});

/** A wait of less than a rounding error that began anew for ever; an end while a start failed. */
test.each([60_348, 61_786, 60_704])("history %i, which failed once, ends well", { timeout: 60_000 }, async (seed) => {
  expect((await runHistory(seed)).violations).toStrictEqual([]);
});

/** The first complaint of any of the first histories in a world that is broken in one way. */
async function complaint(prepare: (world: World) => void): Promise<string> {
  for (let seed = 1; seed <= 60; seed++) {
    const { violations } = await runHistory(seed, { prepare });
    if (violations[0] !== undefined) return violations.join("; ");
  }
  return "none";
}

test.each<[string, RegExp, (world: World) => void]>([
  [
    "a disk that says synced and is not",
    /not on the disk|without a durable intent/,
    ({ disk }) => {
      disk.sync = () => disk.onDurable();
    },
  ],
  [
    "a central that acknowledges reports and drops them",
    /has not ended|sent and not on the disk|goes from|starts a second time/,
    ({ hub }) => {
      hub.report = (reports) => reports.map(({ job, epoch, seq }) => ({ job, epoch, seq, outcome: "applied" }));
    },
  ],
  [
    "a central that applies reports twice",
    /not applied in order|different content|is known to report \d+, central has \d+/,
    ({ hub }) => {
      const report = hub.report.bind(hub);
      hub.report = (reports) => {
        const results = report(reports);
        for (const job of hub.jobs.values())
          if (job.applied.length === 2 && job.applied[0]) job.applied.unshift(job.applied[0]);
        return results;
      };
    },
  ],
  [
    "attempts without a start guard whose ends nobody hears of",
    /has not ended|alive/,
    ({ attempts }) => {
      const start = attempts.start.bind(attempts);
      attempts.start = (plan) => {
        start(plan);
        const attempt = attempts.all.get(plan.token);
        if (attempt) Object.defineProperty(attempt, "state", { get: () => "running", set: () => {} });
      };
    },
  ],
  [
    "an agent that leaves its files open",
    /files are still open after an orderly stop/,
    ({ disk }) => {
      disk.close = () => {};
    },
  ],
  [
    "an agent whose sleeps outlive it",
    /timers are left after an orderly stop/,
    (world) => {
      const afterStop = world.oracle.afterStop.bind(world.oracle);
      world.oracle.afterStop = (process) => {
        void process.clock.sleep(1_000);
        afterStop(process);
      };
    },
  ],
  [
    "a launcher that calls every end exit code 0",
    /without a proven exit code 0/,
    ({ attempts, oracle }) => {
      const atEnd = oracle.atEnd.bind(oracle);
      oracle.atEnd = () => {
        for (const attempt of attempts.all.values()) {
          if (attempt.end) attempt.end = { ...attempt.end, cause: "signal", exit_code: undefined };
        }
        atEnd();
      };
    },
  ],
])("the books do not balance with %s", { timeout: 60_000 }, async (_name, expected, prepare) => {
  expect(await complaint(prepare)).toMatch(expected);
});
