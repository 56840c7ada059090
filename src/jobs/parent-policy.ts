/**
 * What a job wants of its parents. `all_finished`: every parent JOB_FINISHED, else the job fails; `any_finished`: one is enough;
 * `all_ended`: runs once all ended, however they ended.
 */
export const parentPolicies = ["all_finished", "any_finished", "all_ended"] as const;
export type ParentPolicy = (typeof parentPolicies)[number];
