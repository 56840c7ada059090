import { describe, expect, test } from "vitest";
import type { JobRow, Surroundings } from "../../../src/cli/backend/types.ts";
import { explain } from "../../../src/cli/explain.ts";
import { infoOf } from "../../../src/cli/format/job.ts";

const now = Date.parse("2026-11-20T12:00:00Z");
const at = "2026-11-20T11:00:00Z";
const plain: JobRow = {
  id: "nmdc:sys0job",
  name: "",
  workflow: "readqc-1.0.0",
  status: "PENDING",
  state: "READY",
  phase: "none",
  hold: null,
  place: "",
  owner: "ann",
  tags: {},
  attempt: 0,
  failure: null,
  end: null,
  createdAt: at,
  updatedAt: at,
  claimedAt: null,
  endedAt: null,
  waiting: null,
  lostContact: false,
  parents: [],
  retryOf: null,
  raw: {},
};
const nobody: Surroundings = { parents: [], sites: [] };
const site = { id: "lab-a", state: "running", lostContact: false, held: 2 };

describe("explain", () => {
  test("names the workflow that no site serves", () => {
    const { why, do: advice } = explain(plain, nobody);
    expect(why).toContain("'readqc-1.0.0'");
    expect(advice).toHaveLength(1);
  });

  test("says that a slot is awaited, and there is nothing to do", () => {
    const { why, facts, do: advice } = explain(plain, { parents: [], sites: [site] });
    expect(why).toContain("free slot");
    expect(facts).toEqual(["site 'lab-a': running, holds 2 jobs"]);
    expect(advice).toEqual([]);
  });

  test("says that all sites are away", () => {
    const away = { ...site, lostContact: true };
    const { why, facts } = explain(plain, { parents: [], sites: [away, { ...site, id: "b", state: "draining" }] });
    expect(why).toContain("away, paused or draining");
    expect(facts).toEqual(["site 'lab-a': not heard of, holds 2 jobs", "site 'b': draining, holds 2 jobs"]);
  });

  test("does not guess where sites may not be seen", () => {
    expect(explain(plain, { parents: [], sites: undefined }).why).toBe("It waits for a site that claims it.");
  });

  test("names the parents that have not ended", () => {
    const row: JobRow = { ...plain, state: "AWAITING_PARENTS", parents: ["p1", "p2"] };
    const parents = [
      { id: "p1", status: "RUNNING" },
      { id: "p2", status: "FINISHED" },
    ];
    const { why, do: advice } = explain(row, { parents, sites: [] });
    expect(why).toBe("It waits for its parent p1 (RUNNING).");
    expect(advice).toEqual(["siteagent explain p1"]);
  });

  test("tells tries and the next one of a blocked job", () => {
    const hold = {
      kind: "blocked",
      reason: "no space",
      since: at,
      tries: 3,
      next_try_at: "2026-11-20T12:05:00Z",
    } as const;
    const row: JobRow = { ...plain, status: "BLOCKED", place: "lab-a", hold };
    expect(explain(row, nobody)).toMatchObject({
      why: "It cannot go on: no space",
      tries: 3,
      next_try_at: "2026-11-20T12:05:00Z",
      since: at,
      do: [],
    });
    expect(infoOf(row, now)).toBe("no space; next try in 5m");
  });

  test("tells who paused or cancels", () => {
    const paused = { kind: "paused", reason: "lunch", since: at, by: "ann" } as const;
    expect(explain({ ...plain, hold: paused }, nobody).why).toBe("It is paused by ann: lunch.");
    const cancelling = { kind: "cancelling", reason: "", since: at } as const;
    expect(explain({ ...plain, hold: cancelling }, nobody).why).toContain("proven gone");
  });

  test("passes on what the agent says", () => {
    const row = { ...plain, place: "local", waiting: "all 8 slots of target 'local' are used" };
    expect(explain(row, { parents: [], sites: undefined }).why).toBe("All 8 slots of target 'local' are used.");
  });

  test("tells why a job failed and what to do", () => {
    const failure = {
      code: "EXIT_CODE",
      category: "user",
      message: "the command ended with 3",
      hint: "see its log",
    } as const;
    const { why, facts, do: advice } = explain({ ...plain, status: "FAILED", state: "FAILED", failure }, nobody);
    expect(why).toContain("the command ended with 3");
    expect(facts).toEqual(["kind: EXIT_CODE, a matter of the job itself", "see its log"]);
    expect(advice).toContain("try again: siteagent retry nmdc:sys0job");
  });

  test("says of a lost site that its processes go on", () => {
    expect(explain({ ...plain, place: "lab-a", lostContact: true }, nobody).why).toContain("may well go on");
  });
});

describe("the INFO column", () => {
  test.each<[string, Partial<JobRow>, string]>([
    ["a site is awaited", {}, "waits for a site"],
    ["parents", { state: "AWAITING_PARENTS", parents: ["a", "b"] }, "waits for its parents"],
    ["a second try", { status: "RUNNING", state: "RUNNING", place: "x", attempt: 2 }, "attempt 2"],
    ["a lost site", { status: "RUNNING", state: "RUNNING", place: "x", lostContact: true }, "site not heard of"],
    ["the end", { status: "FINISHED", state: "JOB_FINISHED", attempt: 1 }, ""],
  ])("%s", (_, change, expected) => {
    expect(infoOf({ ...plain, ...change }, now)).toBe(expected);
  });

  test("adds the exit code to a failure that does not name it", () => {
    const failure = { code: "EXIT_CODE", category: "user", message: "the command failed", exit_code: 3 } as const;
    expect(infoOf({ ...plain, status: "FAILED", failure }, now)).toBe("the command failed (exit 3)");
  });
});
