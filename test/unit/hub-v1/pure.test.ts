import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { jobStates } from "../../../src/jobs/states.ts";
import { isAllowed, isFinal } from "../../../src/jobs/transitions.ts";
import { fairOrder } from "../../../src/hub/v1/assign.ts";
import { isReleasable } from "../../../src/hub/v1/claims.ts";
import { assertPlainPath } from "../../../src/hub/v1/bodies.ts";
import { isReachable } from "../../../src/hub/v1/reports.ts";

describe("the order of assignment", () => {
  const queues = fc.dictionary(
    fc.string({ minLength: 1, maxLength: 3 }),
    fc.array(fc.record({ priority: fc.integer({ min: -2, max: 2 }), n: fc.nat(1000) }), { maxLength: 12 }),
    { maxKeys: 5 },
  );

  it("takes each job once, never a lower priority before a higher one, and keeps each queue's own order", () => {
    fc.assert(
      fc.property(queues, fc.nat(30), (input, limit) => {
        const sorted = Object.entries(input).map(([workflow, jobs]) => {
          const ordered = jobs.toSorted((left, right) => right.priority - left.priority || left.n - right.n);
          return [workflow, ordered] as const;
        });
        const order = fairOrder(new Map(sorted), limit);
        const all = sorted.flatMap(([, jobs]) => jobs);
        expect(order).toHaveLength(Math.min(limit, all.length));
        expect(new Set(order).size).toBe(order.length);
        const priorities = order.map((job) => job.priority);
        expect(priorities).toEqual(priorities.toSorted((left, right) => right - left));
        for (const [, jobs] of sorted) {
          const taken = order.filter((job) => jobs.includes(job));
          expect(taken).toEqual(jobs.slice(0, taken.length));
        }
      }),
    );
  });

  it("gives workflows of equal priority equal shares", () => {
    const jobs = (from: number) => Array.from({ length: 10 }, (_, index) => ({ priority: 0, n: from + index }));
    const queue = new Map([
      ["a", jobs(0)],
      ["b", jobs(100)],
      ["c", jobs(200)],
    ]);
    const order = fairOrder(queue, 9).map((job) => Math.floor(job.n / 100));
    expect(order).toEqual([0, 1, 2, 0, 1, 2, 0, 1, 2]);
  });
});

describe("states that a report may reach", () => {
  it("are those that the table has a way to", () => {
    expect(isReachable("READY", "RUNNING")).toBe(true);
    expect(isReachable("RUNNING", "JOB_FINISHED")).toBe(true);
    expect(isReachable("RUN_ERROR", "RUNNING")).toBe(true);
    expect(isReachable("POSTPROCESSED", "RUNNING")).toBe(false);
    expect(isReachable("STAGED_OUT", "RUN_DONE")).toBe(false);
    for (const from of jobStates) {
      for (const to of jobStates) {
        if (isAllowed(from, to)) expect([from, to, isReachable(from, to)]).toEqual([from, to, true]);
        if (isFinal(from) && from !== to) expect([from, to, isReachable(from, to)]).toEqual([from, to, false]);
      }
      if (!isFinal(from)) expect(isReachable(from, "FAILED") && isReachable(from, "CANCELLED")).toBe(true);
    }
  });

  it("can be handed back only where nothing runs", () => {
    const releasable = jobStates.filter((state) => isReleasable(state));
    expect(releasable).toEqual(["CREATED", "AWAITING_PARENTS", "READY", "STAGED_IN", "PREPROCESSED", "RESTART_READY"]);
  });
});

describe("paths of outputs", () => {
  it.each(["a", "a/b c.txt", "ä/…", "a..b/.hidden"])("allow '%s'", (path) => {
    expect(() => assertPlainPath(path)).not.toThrow();
  });

  it.each(["", "/a", "a/", "a//b", "../a", "a/../b", "a/.", "a\\b", "a\nb", "a\u0000b", "x".repeat(5000)])(
    "refuse %j",
    (path) => {
      expect(() => assertPlainPath(path)).toThrow(expect.objectContaining({ code: "UNSAFE_PATH" }));
    },
  );
});
