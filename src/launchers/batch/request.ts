/** What a scheduler is asked for: pure. */
import { join } from "node:path";
import type { Token } from "../../common/token.ts";
import type { Placement, SubmitRequest } from "../../schedulers/types.ts";
import type { AttemptPlan } from "../types.ts";
import { arrayLog, arraysIn, tasksFile } from "./arrays.ts";
import { logFile } from "./places.ts";
import { batchBody } from "./script.ts";

export interface RequestOptions {
  readonly placement: Placement;
  /** Lines of shell before the command: module loads and the like. */
  readonly preamble: readonly string[];
  /** What the scheduler is asked for beyond an attempt's own limit and grace, so that the attempt's own limit comes first; milliseconds. */
  readonly walltimeMarginMs: number;
}

/** Of the plan's environment: what the site's lines may need before the command has it (module systems look below HOME). */
const given = ["PATH", "HOME", "USER", "LOGNAME"];

/** One job for one attempt, an array for several alike ones. `at`: ISO 8601, when it is submitted; `recorder`: its absolute path on the host, `workdir`: the host's. */
export function requestOf(
  plans: readonly [AttemptPlan, ...AttemptPlan[]],
  { token, at }: { readonly token: Token; readonly at: string },
  recorder: string,
  workdir: string,
  options: RequestOptions,
): SubmitRequest {
  const [first] = plans;
  const tasks = plans.length;
  const found = given.flatMap((name) => {
    const value = first.environment[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  const environment = { PATH: "/usr/local/bin:/usr/bin:/bin", ...Object.fromEntries(found) };
  const isArray = tasks > 1;
  const attempt = isArray ? { file: tasksFile(workdir, token), tasks, token, at } : { directory: first.directory };
  return {
    token,
    tasks,
    resources: first.resources,
    walltimeS: askedWalltimeS(first, options.walltimeMarginMs),
    placement: options.placement,
    // Not that of one task: it may be gone before others begin.
    directory: isArray ? arraysIn(workdir) : first.directory,
    log: isArray ? arrayLog(workdir, token) : join(first.directory, logFile),
    body: batchBody({ environment, preamble: options.preamble, recorder, attempt }),
  };
}

/** Whole seconds, rounded up; undefined where the attempt has no limit of its own: the scheduler's default counts. */
export function askedWalltimeS(plan: AttemptPlan, marginMs: number): number | undefined {
  return plan.limitMs === undefined ? undefined : Math.ceil((plan.limitMs + plan.graceMs + marginMs) / 1000);
}
