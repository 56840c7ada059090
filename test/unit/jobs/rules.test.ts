import { describe, expect, it } from "vitest";
import { isFault } from "../../../src/common/fault.ts";
import { failureOf, mayRetry, retryDelayMs } from "../../../src/jobs/rules.ts";
import { type AttemptEnd, type EndCause, endCauses } from "../../../src/jobs/states.ts";
import { assertAllowed } from "../../../src/jobs/transitions.ts";

const ended = (cause: EndCause, more: Partial<AttemptEnd> = {}): AttemptEnd => ({
  cause,
  evidence: "rc",
  ended_at: "2026-01-01T00:00:00.000Z",
  ...more,
});

describe("the failure that an end stands for", () => {
  it("has a code, a category and a sentence of its own for every cause", () => {
    const failures = Object.keys(endCauses).map((cause) => failureOf(ended(cause as EndCause)));
    expect(new Set(failures.map(({ code }) => code)).size).toBe(failures.length);
    expect(new Set(failures.map(({ message }) => message)).size).toBe(failures.length);
    expect(failures.filter(({ category }) => category === "site").map(({ code }) => code)).toEqual(
      expect.arrayContaining(["NODE", "LAUNCH", "INFRASTRUCTURE", "STATUS_LOST"]),
    );
    for (const { code } of failures) expect(code).toMatch(/^[A-Z_]+$/);
  });

  it("names exit code and signal, or that they are unknown, and prefers what the launcher said", () => {
    const sentences = [
      ended("exit", { exit_code: 3 }),
      ended("exit"),
      ended("signal", { signal: "SIGSEGV" }),
      ended("signal"),
      ended("node", { message: "the machine was started again" }),
    ].map((end) => failureOf(end).message);
    expect(sentences).toEqual([
      "the command exited with 3",
      "the command exited with an unknown code",
      "the command was ended by SIGSEGV",
      "the command was ended by a signal",
      "the machine was started again",
    ]);
  });
});

describe("retry", () => {
  const policy = { attempts: 3, on: ["exit:75", "signal:SIGKILL", "oom"], delay_ms: 1000 };

  it.each([
    [ended("exit", { exit_code: 75 }), true],
    [ended("exit", { exit_code: 7 }), false],
    [ended("exit"), false],
    [ended("signal", { signal: "SIGKILL" }), true],
    [ended("signal", { signal: "SIGTERM" }), false],
    [ended("oom"), true],
    [ended("node"), false],
    [ended("cancelled"), false],
  ])("after %j: %s", (end, again) => {
    expect(mayRetry(end, 1, policy)).toBe(again);
    expect(mayRetry(end, 3, policy)).toBe(false);
  });

  it("is no try where the infrastructure failed, and nothing brings a cancelled attempt back", () => {
    expect(mayRetry(ended("infrastructure"), 99, policy)).toBe(true);
    expect(mayRetry(ended("cancelled"), 0, { ...policy, on: ["cancelled"] })).toBe(false);
  });

  it("waits twice as long each time, an hour at most", () => {
    expect([0, 1, 2, 3].map((tries) => retryDelayMs(tries, policy))).toEqual([1000, 1000, 2000, 4000]);
    expect(retryDelayMs(1000, policy)).toBe(3_600_000);
  });
});

it("refuses a way that the table does not have, and says from where to where", () => {
  expect(() => assertAllowed("READY", "STAGED_IN")).not.toThrow();
  for (const [from, to] of [
    ["READY", "RUNNING"],
    ["JOB_FINISHED", "FAILED"],
    ["FAILED", "READY"],
  ] as const) {
    let thrown: unknown;
    try {
      assertAllowed(from, to);
    } catch (error) {
      thrown = error;
    }
    expect(isFault(thrown, "ILLEGAL_TRANSITION")).toBe(true);
    expect(thrown).toMatchObject({ message: `a job in state '${from}' cannot go to '${to}'`, details: { from, to } });
  }
});
