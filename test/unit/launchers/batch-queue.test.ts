import { expect, it } from "vitest";
import type { CallContext } from "../../../src/common/context.ts";
import { callContext } from "../../../src/conformance/suite.ts";
import { newToken } from "../../../src/common/token.ts";
import { SchedulerQueue } from "../../../src/launchers/batch/queue.ts";
import type { ScheduledJob, ScheduledStatus, Scheduler, SubmitRequest } from "../../../src/schedulers/types.ts";
import { VirtualClock } from "../../helpers/clocks.ts";
import { stubOf } from "../../helpers/stub.ts";

const pollMs = 30_000;
const down: ScheduledStatus = { state: "unknown", why: "the controller cannot be reached" };

/** A scheduler that answers as it is told to, by a clock that only the test moves. */
class Rig {
  readonly clock = new VirtualClock();
  readonly context: CallContext = { ...callContext(), clock: this.clock };
  readonly job: ScheduledJob = { id: "1", token: newToken(), submittedAt: new Date(this.clock.now()).toISOString() };
  readonly asked: number[] = [];
  says: ScheduledStatus = { state: "running" };
  takesMs = 0;
  readonly queue: SchedulerQueue;

  constructor() {
    const statuses: Scheduler["statuses"] = async (jobs) => {
      this.asked.push(this.clock.monotonic());
      if (this.takesMs > 0) await this.clock.sleep(this.takesMs);
      return jobs.map(() => this.says);
    };
    const scheduler = stubOf<Scheduler>({ statuses, cancel: async () => [{ state: "requested" }] });
    this.queue = new SchedulerQueue({ scheduler, pollMs });
  }

  /** Asks twice a second, as the agent does, for so long. Returns the pauses between the queries that were made meanwhile, and the one before. */
  async pauses(seconds: number, each: () => void = () => {}): Promise<readonly number[]> {
    const from = Math.max(0, this.asked.length - 1);
    for (let half = 0; half < seconds * 2; half++) {
      each();
      void this.queue.statuses([this.job], this.context);
      await this.clock.advance(500);
    }
    const times = this.asked.slice(from);
    return times.slice(1).map((time, index) => time - (times[index] ?? 0));
  }
}

it("E4: the pause between two queries doubles while the scheduler cannot be asked, up to ten times, and is short again at once afterwards", async () => {
  const rig = new Rig();
  await rig.pauses(1);
  rig.says = down;
  expect(await rig.pauses(1_000)).toEqual([30_000, 60_000, 120_000, 240_000, 300_000]);
  expect(rig.queue.trouble).toContain("cannot be reached");
  rig.says = { state: "running" };
  const [last, first] = await rig.pauses(600);
  expect([last, first]).toEqual([300_000, 30_000]);
  expect(rig.queue.trouble).toBeUndefined();
});

it("E4: neither exit records, nor orders, nor new jobs make a scheduler that cannot be asked be asked sooner", async () => {
  const rig = new Rig();
  rig.says = down;
  await rig.pauses(1);
  const pauses = await rig.pauses(600, () => {
    rig.queue.hurry(rig.context);
    void rig.queue.cancel([rig.job], rig.context);
    void rig.queue.statuses([{ ...rig.job, id: "2", token: newToken() }], rig.context);
  });
  expect(pauses).toEqual([60_000, 120_000, 240_000]);
});

it.each([
  { takesMs: 900, pauses: [30_000, 45_000] },
  { takesMs: 5_000, pauses: [100_000, 100_000] },
  { takesMs: 60_000, pauses: [300_000, 300_000] },
])("E4: queries that take $takesMs ms are apart by twenty times that, at most ten times the floor", async (told) => {
  const rig = new Rig();
  rig.takesMs = told.takesMs;
  // What changes with each answer keeps the pause short where the scheduler is quick.
  const pauses = await rig.pauses(1_300);
  expect(pauses.slice(0, 2)).toEqual(told.pauses);
});

it("E4: a slow scheduler is not asked out of turn; a quick one is", async () => {
  const rig = new Rig();
  const hurried = async (): Promise<readonly number[]> => await rig.pauses(95, () => rig.queue.hurry(rig.context));
  rig.takesMs = 900;
  expect(Math.min(...(await hurried()))).toBeLessThan(pollMs);
  rig.takesMs = 4_000;
  await hurried();
  expect(Math.min(...(await hurried()))).toBeGreaterThanOrEqual(80_000);
});

it("E19: a query that hangs is the only one, and holds up nobody who has an answer already", async () => {
  const rig = new Rig();
  await rig.pauses(1);
  rig.takesMs = 600_000;
  await rig.clock.advance(pollMs);
  const answers: (readonly (ScheduledStatus | undefined)[])[] = [];
  for (let second = 0; second < 500; second++) {
    void rig.queue.statuses([rig.job], rig.context).then((answer) => answers.push(answer));
    await rig.clock.advance(1_000);
  }
  expect(answers).toHaveLength(500);
  expect(new Set(answers.map(([answer]) => answer?.state))).toEqual(new Set(["running"]));
  expect(rig.asked).toHaveLength(2);
});

it("submits no more than the site's rate in any minute, in order, and says of the others that they are limited", async () => {
  const rig = new Rig();
  const submitted: string[] = [];
  const scheduler = stubOf<Scheduler>({
    submit: async (requests) => {
      for (const { body } of requests) submitted.push(body);
      return requests.map(() => ({ state: "unclear", why: "" }));
    },
  });
  const queue = new SchedulerQueue({ scheduler, pollMs, submitsPerMinute: 3 });
  const submit = async (bodies: string): Promise<string> => {
    const results = await queue.submit(
      bodies.split("").map((body) => stubOf<SubmitRequest>({ body })),
      rig.context,
    );
    return results.map(({ state }) => state[0]).join("");
  };
  expect(await submit("ab")).toBe("uu");
  await rig.clock.advance(30_000);
  expect(await submit("cde")).toBe("ull");
  await rig.clock.advance(29_999);
  expect(await submit("d")).toBe("l");
  await rig.clock.advance(1);
  expect(await submit("def")).toBe("uul");
  expect(submitted).toEqual(["a", "b", "c", "d", "e"]);
});
