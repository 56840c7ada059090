import { describe, expect, test } from "vitest";
import type { JobRow, ServingSite, Surroundings } from "../../../src/cli/backend/types.ts";
import { explain as explainAt } from "../../../src/cli/explain.ts";
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
  progress: null,
  parents: [],
  retryOf: null,
  raw: {},
};
const nobody: Surroundings = { parents: [], sites: [], otherWorkflows: [] };
const site = {
  id: "lab-a",
  state: "running",
  lostContact: false,
  held: 2,
  lastSync: "2026-11-20T11:55:00Z",
  notAccepting: undefined,
  free: 0,
  slots: 2,
};

function explain(row: JobRow, around: Surroundings) {
  return explainAt(row, around, now);
}

function servedBy(...sites: NonNullable<Surroundings["sites"]>): Surroundings {
  return { parents: [], sites, otherWorkflows: [] };
}

describe("explain", () => {
  test("names the workflow that no site serves", () => {
    const { why, do: advice } = explain(plain, nobody);
    expect(why).toContain("'readqc-1.0.0'");
    expect(advice).toHaveLength(1);
  });

  test("offers no logs of a job that never ran, and no second try of what would be refused again", () => {
    const failure = { code: "PARAMETERS", category: "user", message: "x is missing" } as const;
    const refused = explain({ ...plain, status: "FAILED", state: "FAILED", failure }, nobody).do.join("; ");
    expect(refused).toContain("siteagent submit --help readqc-1.0.0");
    expect(refused).toContain("siteagent resubmit nmdc:sys0job --edit");
    expect(refused).not.toMatch(/logs|retry/);
    const cancelled = explain({ ...plain, status: "CANCELLED", state: "CANCELLED" }, nobody);
    expect(cancelled.why).toBe("It has ended: CANCELLED; nobody gave a reason.");
    expect(cancelled.do).toEqual(["try again: siteagent retry nmdc:sys0job"]);
    const ran = explain({ ...plain, status: "FAILED", state: "FAILED", failure, attempt: 1 }, nobody).do;
    expect(ran[0]).toBe("what it wrote: siteagent logs nmdc:sys0job");
  });

  test("offers the nearest workflow that is served", () => {
    const { do: advice } = explain(plain, { ...nobody, otherWorkflows: ["readqc-1.0.1", "assembly-2"] });
    expect(advice[1]).toBe("what is served: did you mean 'readqc-1.0.1'?");
  });

  test("says that a slot is awaited, and there is nothing to do", () => {
    const { why, facts, do: advice } = explain(plain, servedBy(site));
    expect(why).toContain("free slot");
    expect(facts).toEqual(["site 'lab-a': running, all 2 slots in use, holds 2 jobs"]);
    expect(advice).toEqual([]);
  });

  test("says that a slot is free, although another site is away", () => {
    const { why, facts } = explain(plain, servedBy({ ...site, lostContact: true }, { ...site, id: "b", free: 1 }));
    expect(why).toBe("A site has a free slot for it and will claim it.");
    expect(facts[1]).toBe("site 'b': running, 1 free slot at its last call 5m ago, holds 2 jobs");
  });

  test("says that all sites are away, paused or draining, each with its reason", () => {
    const away = { ...site, lostContact: true };
    const around = servedBy(away, { ...site, id: "b", state: "draining" }, { ...site, id: "c", state: "paused" });
    const { why, facts, do: advice } = explain(plain, around);
    expect(why).toContain("away, paused or draining");
    expect(facts).toEqual([
      "site 'lab-a': not heard of; its last call was 5m ago; holds 2 jobs",
      "site 'b': draining, holds 2 jobs",
      "site 'c': paused, holds 2 jobs",
    ]);
    expect(advice).toContain("on the machine of site 'c': siteagent resume");
  });

  test.each<[string, Partial<ServingSite>, string]>([
    ["lost", { lostContact: true }, "none has been heard of"],
    ["never seen", { lastSync: null }, "none has been heard of"],
    ["paused", { state: "paused" }, "is paused"],
    ["stopped", { state: "stopping" }, "draining or has stopped"],
    ["starting", { state: "starting" }, "just starting"],
  ])("says what the only site is: %s", (_, change, words) => {
    expect(explain(plain, servedBy({ ...site, ...change })).why).toContain(words);
  });

  test("passes on why a running site takes nothing", () => {
    const full = { ...site, notAccepting: "less than 10 GiB free in the work directory" };
    const { why, facts } = explain(plain, servedBy(full));
    expect(why).toBe("Every site that serves its workflow takes no new jobs.");
    expect(facts[0]).toContain("less than 10 GiB free");
  });

  test("does not guess where sites may not be seen", () => {
    expect(explain(plain, { ...nobody, sites: undefined }).why).toBe("It waits for a site that claims it.");
  });

  test("names the parents that have not ended", () => {
    const row: JobRow = { ...plain, state: "AWAITING_PARENTS", parents: ["p1", "p2"] };
    const parents = [
      { id: "p1", status: "RUNNING" },
      { id: "p2", status: "FINISHED" },
    ];
    const { why, do: advice } = explain(row, { ...nobody, parents });
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

  test("says what to do when tries do not help, or none is planned", () => {
    const blocked = { kind: "blocked", reason: "no space", since: at, next_try_at: at } as const;
    const often = explain({ ...plain, place: "lab-a", hold: { ...blocked, tries: 5 } }, nobody);
    expect(often.do).toEqual(["remove the cause; on the machine of 'lab-a': siteagent doctor"]);
    const { next_try_at: _, ...forGood } = blocked;
    const quarantined = explain({ ...plain, hold: { ...forGood, reason: "quarantined", tries: 2 } }, nobody);
    expect(quarantined.why).toContain("held back until somebody decides");
    expect(quarantined.do[0]).toContain("siteagent cancel nmdc:sys0job");
  });

  test("tells who paused or cancels", () => {
    const paused = { kind: "paused", reason: "lunch", since: at, by: "ann" } as const;
    expect(explain({ ...plain, hold: paused }, nobody).why).toBe("It is paused by ann: lunch.");
    const cancelling = { kind: "cancelling", reason: "", since: at } as const;
    expect(explain({ ...plain, hold: cancelling }, nobody).why).toContain("proven gone");
  });

  test("passes on what the agent says", () => {
    const row = { ...plain, place: "local", waiting: "all 8 slots of target 'local' are used" };
    expect(explain(row, { ...nobody, sites: undefined }).why).toBe("All 8 slots of target 'local' are used.");
  });

  test("tells why a job failed and what to do", () => {
    const failure = {
      code: "EXIT_CODE",
      category: "user",
      message: "the command ended with 3",
      hint: "see its log",
    } as const;
    const {
      why,
      facts,
      do: advice,
    } = explain({ ...plain, status: "FAILED", state: "FAILED", attempt: 1, failure }, nobody);
    expect(why).toContain("the command ended with 3");
    expect(facts).toEqual(["kind: EXIT_CODE, a matter of the job itself", "see its log"]);
    expect(advice).toContain("try again: siteagent retry nmdc:sys0job");
  });

  test("says of a suspended job who can let it go on", () => {
    const suspended = { ...plain, status: "RUNNING", state: "RUNNING", phase: "suspended", place: "lab-a" } as const;
    const { why, do: advice } = explain(suspended, nobody);
    expect(why).toBe("Its attempt at 'lab-a' was stopped by a signal (SIGSTOP) or suspended by its scheduler.");
    expect(advice).toEqual(["let it go on there: `kill -CONT`, or by the scheduler"]);
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
    ["suspended", { status: "RUNNING", phase: "suspended", place: "x" }, "stopped by a signal or its scheduler"],
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
