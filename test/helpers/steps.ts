import { isSteps, type Steps } from "../../src/common/slices.ts";

/** What a calculation in steps comes to, in one go. */
export function finished<Result>(steps: Result | Steps<Result>): Result {
  if (!isSteps(steps)) return steps;
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}
