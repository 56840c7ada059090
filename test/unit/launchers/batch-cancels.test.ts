import { describe, expect, it } from "vitest";
import { silentLogger } from "../../../src/common/logger.ts";
import { newToken } from "../../../src/common/token.ts";
import { Cancels } from "../../../src/launchers/batch/cancels.ts";
import type { OrderResult, ScheduledJob } from "../../../src/schedulers/types.ts";
import { nextTurn, VirtualClock } from "../../helpers/clocks.ts";

const job = (id: number): ScheduledJob => ({
  id: String(id),
  token: newToken(),
  submittedAt: "2026-11-21T23:15:00.000Z",
});

function setUp(answer: (job: ScheduledJob) => OrderResult = () => ({ state: "requested" })) {
  const clock = new VirtualClock();
  const context = { clock, log: silentLogger, signal: new AbortController().signal };
  const commands: { readonly at: number; readonly ids: readonly string[] }[] = [];
  const cancels = new Cancels(async (jobs) => {
    commands.push({ at: clock.monotonic(), ids: jobs.map(({ id }) => id) });
    await nextTurn();
    return jobs.map(answer);
  }, 30_000);
  return { clock, commands, cancel: (...ids: readonly number[]) => cancels.cancel(ids.map(job), context) };
}

describe("cancels", () => {
  it("that come one by one are one command, with each one's own result", async () => {
    const { clock, commands, cancel } = setUp(({ id }) =>
      id === "7" ? { state: "refused", reason: "not yours" } : id === "9" ? { state: "over" } : { state: "requested" },
    );
    const all = Promise.all(Array.from({ length: 300 }, (_, id) => cancel(id)));
    await clock.advance(1_000);
    const results = (await all).map(([result]) => result?.state);
    expect(results).toEqual(
      Array.from({ length: 300 }, (_, id) => (id === 7 ? "refused" : id === 9 ? "over" : "requested")),
    );
    expect(commands.map(({ ids }) => ids.length)).toEqual([300]);
  });

  it("that come all the time are a command a second", async () => {
    const { clock, commands, cancel } = setUp();
    const all: Promise<unknown>[] = [];
    for (let count = 0; count < 500; count++) {
      all.push(cancel(count, 1_000 + count));
      await clock.advance(10);
    }
    await clock.advance(1_000);
    await Promise.all(all);
    expect(commands.length).toBeLessThanOrEqual(7);
    const begins = commands.map(({ at }) => at);
    for (const [index, at] of begins.entries()) {
      const before = begins[index - 1];
      if (before !== undefined) expect(at - before).toBeGreaterThanOrEqual(1_000);
    }
    expect(commands.flatMap(({ ids }) => ids)).toHaveLength(1_000);
  });

  it("of a command that could not be run are no answer, and the next ones go", async () => {
    const { clock, cancel, commands } = setUp(() => {
      if (commands.length === 1) throw new Error("no such host");
      return { state: "requested" };
    });
    const lost = Promise.allSettled([cancel(1), cancel(2)]);
    await clock.advance(100);
    expect((await lost).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    const next = cancel(3);
    await clock.advance(1_000);
    expect(await next).toEqual([{ state: "requested" }]);
  });
});
