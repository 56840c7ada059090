import { expect, test } from "vitest";
import { judgeParents, parentFailure } from "../../../src/hub/jobs/parents.ts";

test.each([
  ["all_finished", ["JOB_FINISHED", "JOB_FINISHED"], "ready"],
  ["all_finished", ["JOB_FINISHED", "RUNNING"], "wait"],
  ["all_finished", ["RUNNING", "FAILED"], "fail"],
  ["all_finished", ["CANCELLED", "JOB_FINISHED"], "fail"],
  ["any_finished", ["FAILED", "JOB_FINISHED"], "ready"],
  ["any_finished", ["JOB_FINISHED", "RUNNING"], "ready"],
  ["any_finished", ["FAILED", "RUNNING"], "wait"],
  ["any_finished", ["FAILED", "CANCELLED"], "fail"],
  ["all_ended", ["FAILED", "JOB_FINISHED", "CANCELLED"], "ready"],
  ["all_ended", ["FAILED", "RUN_DONE"], "wait"],
] as const)("%s of %j: %s", (policy, states, verdict) => {
  expect(judgeParents(policy, states)).toBe(verdict);
});

test("the failure names the parent that did not finish", () => {
  const failure = parentFailure([
    { id: "a", state: "JOB_FINISHED" },
    { id: "b", state: "CANCELLED" },
  ]);
  expect(failure).toMatchObject({ code: "PARENT", category: "user" });
  expect(failure.message).toContain("'b' is CANCELLED");
});
