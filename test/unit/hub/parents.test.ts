import { expect, test } from "vitest";
import { parentFailure } from "../../../src/hub/jobs/parents.ts";

test("the failure names the parent that did not finish", () => {
  const failure = parentFailure([
    { id: "a", state: "JOB_FINISHED" },
    { id: "b", state: "CANCELLED" },
  ]);
  expect(failure).toMatchObject({ code: "PARENT", category: "user" });
  expect(failure.message).toContain("'b' is CANCELLED");
});
