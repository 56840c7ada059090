import type { Failure, JobState } from "../../jobs/states.ts";
import { isFinal } from "../../jobs/transitions.ts";

/** A job that another one waits for. */
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
