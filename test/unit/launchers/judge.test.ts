import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Facts, hasBegun, judge, type Patience } from "../../../src/launchers/batch/judge.ts";
import type { Evidence, ExitRecord } from "../../../src/runner/evidence.ts";
import { type ScheduledStatus, verdictKinds } from "../../../src/schedulers/types.ts";

const patience: Patience = { recordMs: 60_000, verdictMs: 120_000, lostMs: 1_800_000 };

const identity = {
  pid: 7,
  startTicks: 9,
  bootId: "b",
  pidNamespace: "4026531836",
  machineId: "m",
  atMs: 1_700_000_000_000,
};
const record: ExitRecord = {
  kind: "code",
  value: 0,
  atMs: 1_700_000_001_000,
  marker: undefined,
  alone: false,
  maxRssBytes: undefined,
  cpuSeconds: undefined,
  message: undefined,
};

const empty: Evidence = {
  directory: "present",
  guardAtMs: undefined,
  barred: false,
  recorder: undefined,
  job: undefined,
  rc: undefined,
  gone: false,
  dropped: false,
  oom: undefined,
  timeout: false,
  stop: false,
  cgroup: undefined,
};

const anyVerdict = fc.record({
  kind: fc.constantFrom(...verdictKinds),
  exitCode: fc.option(fc.nat(255), { nil: undefined }),
  raw: fc.constant("STATE"),
  source: fc.constantFrom("queue" as const, "accounting" as const),
});

const anyStatus: fc.Arbitrary<ScheduledStatus | undefined> = fc.oneof(
  fc.constant(undefined),
  fc.constant({ state: "queued", reason: "Priority" } as const),
  fc.constant({ state: "running" } as const),
  fc.constant({ state: "finishing" } as const),
  fc.constant({ state: "absent" } as const),
  fc.constant({ state: "unknown", why: "down" } as const),
  anyVerdict.map((verdict) => ({ state: "ended", verdict }) as const),
);

const anyEvidence: fc.Arbitrary<Evidence> = fc
  .record({
    begun: fc.boolean(),
    job: fc.boolean(),
    stop: fc.boolean(),
    rc: fc.oneof(
      fc.constant(undefined),
      fc.constant("damaged" as const),
      fc.record({
        value: fc.nat(255),
        kind: fc.constantFrom("exit" as const, "code" as const, "signal" as const, "launch" as const),
        marker: fc.constantFrom(undefined, "timeout" as const, "stop" as const),
      }),
    ),
  })
  .map(({ begun, job, stop, rc }) => ({
    ...empty,
    stop,
    guardAtMs: begun ? identity.atMs : undefined,
    recorder: begun ? { ...identity, mode: "sh" } : undefined,
    job: begun && job ? identity : undefined,
    rc: typeof rc === "object" ? { ...record, ...rc } : rc,
  }));

const anyFacts: fc.Arbitrary<Facts> = fc.record({
  evidence: anyEvidence,
  scheduled: anyStatus,
  ordered: fc.boolean(),
  overForMs: fc.option(fc.nat(4_000_000), { nil: undefined }),
  unknownForMs: fc.option(fc.nat(4_000_000), { nil: undefined }),
  nowMs: fc.constant(1_700_000_002_000),
});

function isRecord(rc: Evidence["rc"]): rc is ExitRecord {
  return typeof rc === "object";
}

describe("whatever the two witnesses say", () => {
  test("a success has a record of the code, and no verdict against it", () => {
    fc.assert(
      fc.property(anyFacts, (facts) => {
        const { status } = judge(facts, patience);
        if (status.state !== "ended" || status.end.cause !== "exit" || status.end.exit_code !== 0) return;
        expect(isRecord(facts.evidence.rc) && facts.evidence.rc.value).toBe(0);
        const { scheduled } = facts;
        const word = scheduled?.state === "ended" ? scheduled.verdict.kind : scheduled?.state;
        expect(["completed", "absent", "unknown", ...(facts.ordered ? ["cancelled"] : [])]).toContain(word);
      }),
      { numRuns: 3_000 },
    );
  });

  test("E22: a site that trusts its accounting changes nothing but a completed job that began and left no record", () => {
    fc.assert(
      fc.property(anyFacts, (facts) => {
        const doubting = judge(facts, patience);
        const trusting = judge({ ...facts, trustsAccounting: true }, patience);
        const { scheduled, evidence } = facts;
        const verdict = scheduled?.state === "ended" ? scheduled.verdict : undefined;
        const isTrusted =
          doubting.status.state === "ended" &&
          !isRecord(evidence.rc) &&
          hasBegun(evidence) &&
          verdict?.kind === "completed" &&
          verdict.exitCode === 0;
        if (!isTrusted) {
          expect(trusting).toEqual(doubting);
          return;
        }
        expect(doubting.status).toMatchObject({ end: { cause: "status-lost" } });
        expect(trusting.status).toMatchObject({ end: { cause: "exit", exit_code: 0 } });
      }),
      { numRuns: 3_000 },
    );
  });

  test("without a record, and while nobody could say that it is over, nothing ends", () => {
    fc.assert(
      fc.property(anyFacts, (facts) => {
        if (isRecord(facts.evidence.rc)) return;
        const { status } = judge(facts, patience);
        if (status.state !== "ended") return;
        expect(["ended", "absent"]).toContain(facts.scheduled?.state);
        if (facts.scheduled?.state === "absent" && status.end.cause !== "cancelled")
          expect(facts.overForMs).toBeGreaterThanOrEqual(patience.lostMs);
      }),
      { numRuns: 3_000 },
    );
  });

  test("E14: that the rest of an array was cancelled is the end of a task that never began, and says nothing of one that did", () => {
    const verdict = { kind: "cancelled", neverBegan: true, raw: "CANCELLED", source: "queue" } as const;
    fc.assert(
      fc.property(anyFacts, (facts) => {
        const judged = judge({ ...facts, scheduled: { state: "ended", verdict } }, patience);
        if (hasBegun(facts.evidence))
          expect(judged).toEqual(judge({ ...facts, scheduled: { state: "absent" } }, patience));
        else if (!isRecord(facts.evidence.rc))
          expect(judged.status).toMatchObject({ state: "ended", end: { cause: "cancelled" } });
      }),
      { numRuns: 1_000 },
    );
  });

  test("a job that the scheduler still has does not end", () => {
    fc.assert(
      fc.property(anyFacts, (facts) => {
        const { scheduled } = facts;
        if (!["queued", "running", "finishing"].includes(scheduled?.state ?? "")) return;
        expect(judge(facts, patience).status.state).not.toBe("ended");
      }),
      { numRuns: 1_000 },
    );
  });
});

test.each([{ state: "running" }, { state: "finishing" }, { state: "queued" }, undefined] as const)(
  "an exit record waits for the scheduler's word, and asks for it soon, whatever it said last: %j",
  (scheduled) => {
    const evidence = { ...empty, guardAtMs: 1, recorder: { ...identity, mode: "sh" }, job: identity, rc: record };
    const facts = { evidence, ordered: false, overForMs: undefined, unknownForMs: undefined, nowMs: 2 };
    expect(judge({ ...facts, scheduled }, patience)).toMatchObject({
      status: { state: "running", since: "2023-11-14T22:13:20.000Z" },
      urgent: true,
    });
  },
);
