import fc from "fast-check";
import { expect, it } from "vitest";
import { type ParentPolicy, parentPolicies } from "../../../src/jobs/parent-policy.ts";
import { decideByParents } from "../../../src/jobs/parents.ts";
import { type JobState, jobStates } from "../../../src/jobs/states.ts";
import { isFinal } from "../../../src/jobs/transitions.ts";

it.each<[ParentPolicy, JobState[], string]>([
  ["all_finished", [], "ready"],
  ["all_finished", ["JOB_FINISHED", "RUNNING"], "wait"],
  ["all_finished", ["JOB_FINISHED", "JOB_FINISHED"], "ready"],
  ["all_finished", ["FAILED", "RUNNING"], "fail"],
  ["all_finished", ["CANCELLED"], "fail"],
  ["all_ended", ["FAILED", "RUNNING"], "wait"],
  ["all_ended", ["FAILED", "JOB_FINISHED", "CANCELLED"], "ready"],
  ["any_finished", [], "ready"],
  ["any_finished", ["FAILED", "RUNNING"], "wait"],
  ["any_finished", ["JOB_FINISHED", "RUNNING"], "ready"],
  ["any_finished", ["FAILED", "CANCELLED"], "fail"],
])("policy %s with parents %j says %s", (policy, parents, verdict) => {
  expect(decideByParents(policy, parents)).toBe(verdict);
});

const policy = fc.constantFrom(...parentPolicies);
const state = fc.constantFrom(...jobStates);

it("keeps its verdict when further parents end", () => {
  fc.assert(
    fc.property(
      policy,
      fc.array(state),
      fc.infiniteStream(fc.constantFrom("JOB_FINISHED", "FAILED", "CANCELLED")),
      (kind, parents, ends) => {
        const before = decideByParents(kind, parents);
        const later = parents.map((parent) => (isFinal(parent) ? parent : (ends.next().value as JobState)));
        const after = decideByParents(kind, later);
        expect(after).not.toBe("wait");
        if (before !== "wait") expect(after).toBe(before);
      },
    ),
  );
});
