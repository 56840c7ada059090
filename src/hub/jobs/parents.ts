/** Jobs that wait for other jobs: what the parents' ends mean for them. Pure; lifecycle.ts acts on it. */
import type { ParentPolicy } from "../../jobs/parent-policy.ts";
import type { Failure, JobState } from "../../jobs/states.ts";
import { isFinal } from "../../jobs/transitions.ts";

export type ParentVerdict = "wait" | "ready" | "fail";

/** What these states of all parents mean under the policy. */
export function judgeParents(policy: ParentPolicy, states: readonly JobState[]): ParentVerdict {
  const finished = states.filter((state) => state === "JOB_FINISHED").length;
  const ended = states.filter((state) => isFinal(state)).length;
  switch (policy) {
    case "all_finished":
      if (finished === states.length) return "ready";
      return ended > finished ? "fail" : "wait";
    case "any_finished":
      if (finished > 0) return "ready";
      return ended === states.length ? "fail" : "wait";
    case "all_ended":
      return ended === states.length ? "ready" : "wait";
  }
}

export interface ParentState {
  readonly id: string;
  readonly state: JobState;
}

/** The failure of a job whose parents did not do what it needs. */
export function parentFailure(parents: readonly ParentState[]): Failure {
  const bad = parents.find((parent) => isFinal(parent.state) && parent.state !== "JOB_FINISHED");
  return {
    code: "PARENT",
    category: "user",
    message: `a job that this one waits for did not finish: '${bad?.id ?? "?"}' is ${bad?.state ?? "?"}`,
    hint: "retry the parent, then submit this job again",
  };
}
