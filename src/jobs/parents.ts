import type { ParentPolicy } from "./parent-policy.ts";
import type { JobState } from "./states.ts";
import { isFinal } from "./transitions.ts";

/** When a job that has parents may start; `docs/states.md` lists them. */
export const parentPolicyMeanings = {
  all_finished: "all parents ended well; as soon as one failed or was cancelled the job fails",
  all_ended: "all parents ended, well or not",
  any_finished: "one parent ended well; the job fails when all ended and none did",
} as const satisfies Record<ParentPolicy, string>;
export const defaultParentPolicy: ParentPolicy = "all_finished";

/** `wait`, `ready`, or `fail` because the policy can never be met any more. Without parents: ready. */
export type ParentVerdict = "wait" | "ready" | "fail";

/** What the states of its parents mean for a job. Pure; a later state of any parent never turns `ready` or `fail` into something else. */
export function decideByParents(policy: ParentPolicy, parents: readonly JobState[]): ParentVerdict {
  const ended = parents.filter((state) => isFinal(state)).length;
  const finished = parents.filter((state) => state === "JOB_FINISHED").length;
  const open = parents.length - ended;
  switch (policy) {
    case "all_finished":
      if (finished < ended) return "fail";
      return open === 0 ? "ready" : "wait";
    case "all_ended":
      return open === 0 ? "ready" : "wait";
    case "any_finished":
      if (finished > 0 || parents.length === 0) return "ready";
      return open === 0 ? "fail" : "wait";
  }
}
